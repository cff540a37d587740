"""What kind of load a service has, from a trace of request counts, and what follows for how it is scaled. Pure."""

from kserve_ext.traffic.analyse import analyse
from kserve_ext.traffic.trace import Trace, read_trace, read_traces
from kserve_ext.traffic.types import Advice, Dispersion, Idle, Level, Season, Spike, Spikes, Swing, Traffic, Trend

__all__ = [
    "Advice", "Dispersion", "Idle", "Level", "Season", "Spike", "Spikes", "Swing", "Trace", "Traffic", "Trend",
    "analyse", "read_trace", "read_traces",
]  # fmt: skip
