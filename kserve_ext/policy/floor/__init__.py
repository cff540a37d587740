"""The predictive floor: one pure step that the operator and the simulator share."""

from kserve_ext.policy.floor.decide import learn, start, step
from kserve_ext.policy.floor.one_server import attained_by_one
from kserve_ext.policy.floor.sizing import Sizing, sizing_from, sizing_from_capacity
from kserve_ext.policy.floor.types import Decision, FloorSettings, Observation, ScalerState

__all__ = [
    "Decision", "FloorSettings", "Observation", "ScalerState", "Sizing", "attained_by_one", "learn", "sizing_from",
    "sizing_from_capacity", "start", "step",
]  # fmt: skip
