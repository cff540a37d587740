"""Many services on many GPUs: what each may run on, where it goes, what every GPU is cut into, and what it costs."""

from kserve_ext.policy.fleet.alternatives import Alternatives, alternatives
from kserve_ext.policy.fleet.cluster_nodes import read_nodes
from kserve_ext.policy.fleet.decide import FleetPlan, Wanted, plan_fleet
from kserve_ext.policy.fleet.document import read_fleet, write_fleet
from kserve_ext.policy.fleet.pack import pack
from kserve_ext.policy.fleet.scheduling import schedule
from kserve_ext.policy.fleet.types import Fleet, Objective, Pool

__all__ = [
    "Alternatives", "Fleet", "FleetPlan", "Objective", "Pool", "Wanted", "alternatives", "pack", "plan_fleet",
    "read_fleet", "read_nodes", "schedule", "write_fleet",
]  # fmt: skip
