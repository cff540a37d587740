"""The predictive floor: one pure step that the operator and the simulator share."""

from kserve_ext.policy.floor.decide import learn, start, step
from kserve_ext.policy.floor.types import Decision, FloorSettings, Observation, ScalerState, Sizing, linear_sizing

__all__ = [
    "Decision",
    "FloorSettings",
    "Observation",
    "ScalerState",
    "Sizing",
    "learn",
    "linear_sizing",
    "start",
    "step",
]
