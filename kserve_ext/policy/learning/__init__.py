"""Learning from what runs: reality beside the profile and the promise, a bounded correction, and when to re-plan."""

from kserve_ext.policy.learning.correct import correct, corrected
from kserve_ext.policy.learning.decide import Circumstances, Step, Verdict, decide
from kserve_ext.policy.learning.evidence import Evidence, Executions, Look, aged, seen
from kserve_ext.policy.learning.levels import Level, level, start_up
from kserve_ext.policy.learning.remarks import remarks
from kserve_ext.policy.learning.types import AS_PROFILED, Correction

__all__ = [
    "AS_PROFILED", "Circumstances", "Correction", "Evidence", "Executions", "Level", "Look", "Step", "Verdict", "aged",
    "correct", "corrected", "decide", "level", "remarks", "seen", "start_up",
]  # fmt: skip
