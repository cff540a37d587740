"""Decisions: pure functions from what is wanted and what was measured to a plan with reasons.

A policy of your own is a function `(PlanRequest) -> Plan`; start from `plan` and change what you know better.
"""

from kserve_ext.policy.plan import plan
from kserve_ext.policy.request import PlanRequest, Policy, Settings

__all__ = ["PlanRequest", "Policy", "Settings", "plan"]
