"""Knative's pod autoscaler (KPA), to the bit: Knative Serving 0.48 (1.21), checked against its own code.

Collector and decide are its two halves, `replay` runs both over a given series, reconcile is what happens to a decision.
"""

from kserve_ext.simulate.kpa.collect import Collector, Stat, extrapolate, sample_size
from kserve_ext.simulate.kpa.config import Aggregation, Config, Metric, read_config
from kserve_ext.simulate.kpa.decide import Decision, State, decide, first_decision, is_news, is_poked, start
from kserve_ext.simulate.kpa.replay import replay

__all__ = [
    "Aggregation",
    "Collector",
    "Config",
    "Decision",
    "Metric",
    "Stat",
    "State",
    "decide",
    "extrapolate",
    "first_decision",
    "is_news",
    "is_poked",
    "read_config",
    "replay",
    "sample_size",
    "start",
]
