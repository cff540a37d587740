"""What traffic there is: requests and late ones by service, from Prometheus or straight from the pods; what executions took."""

from kserve_ext.observe.executions import ExecutionReader, Ran
from kserve_ext.observe.prometheus import Prometheus
from kserve_ext.observe.readings import Asked, Counted, Reading, Source, increase
from kserve_ext.observe.scrape import Scraper

__all__ = ["Asked", "Counted", "ExecutionReader", "Prometheus", "Ran", "Reading", "Scraper", "Source", "increase"]
