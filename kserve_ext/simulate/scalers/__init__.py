"""Policies that people use, as scalers: Knative's KPA, the HPA, KEDA, a fixed count, and one that knows the rate ahead."""

from kserve_ext.simulate.scalers.bounds import Bounds
from kserve_ext.simulate.scalers.fixed import StaticScaler, static_peak
from kserve_ext.simulate.scalers.hpa import CpuUtilization, HpaScaler
from kserve_ext.simulate.scalers.hpa_behavior import Behavior, Policy, PolicyType, Rules, Select
from kserve_ext.simulate.scalers.keda import KedaScaler
from kserve_ext.simulate.scalers.kpa import KpaScaler, from_plan, kpa_cc1, kpa_default
from kserve_ext.simulate.scalers.perfect import PerfectRateScaler, perfect_rate
from kserve_ext.simulate.scalers.query import BusyShare, QueueTime, RequestRate
from kserve_ext.simulate.scalers.registry import SCALER_NAMES, Context, scaler_named

__all__ = [
    "SCALER_NAMES",
    "Behavior",
    "Bounds",
    "BusyShare",
    "Context",
    "CpuUtilization",
    "HpaScaler",
    "KedaScaler",
    "KpaScaler",
    "PerfectRateScaler",
    "Policy",
    "PolicyType",
    "QueueTime",
    "RequestRate",
    "Rules",
    "Select",
    "StaticScaler",
    "from_plan",
    "kpa_cc1",
    "kpa_default",
    "perfect_rate",
    "scaler_named",
    "static_peak",
]
