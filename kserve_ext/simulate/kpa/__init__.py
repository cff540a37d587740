"""Knative's pod autoscaler (KPA), to the bit: Knative Serving 0.48 (1.21), checked against its own code.

Collector and decide are its two halves, `replay` runs both over a given series, `reconcile` is what becomes of a decision.
"""

from kserve_ext.simulate.kpa.collect import Collector, Stat, extrapolate, sample_size
from kserve_ext.simulate.kpa.config import Aggregation, Config, Metric, read_config
from kserve_ext.simulate.kpa.decide import Decision, State, decide, first_decision, is_news, is_poked, start
from kserve_ext.simulate.kpa.reconcile import Activity, Limits, Outcome, Status, reconcile
from kserve_ext.simulate.kpa.replay import replay
from kserve_ext.simulate.kpa.request_stats import ActivatorStats, RequestStats
from kserve_ext.simulate.kpa.target import ClusterDefaults, Target, panic_window_s, resolve_target

__all__ = [
    "ActivatorStats",
    "Activity",
    "Aggregation",
    "ClusterDefaults",
    "Collector",
    "Config",
    "Decision",
    "Limits",
    "Metric",
    "Outcome",
    "RequestStats",
    "Stat",
    "State",
    "Status",
    "Target",
    "decide",
    "extrapolate",
    "first_decision",
    "is_news",
    "is_poked",
    "panic_window_s",
    "read_config",
    "reconcile",
    "replay",
    "resolve_target",
    "sample_size",
    "start",
]
