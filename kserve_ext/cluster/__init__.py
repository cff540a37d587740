"""A cluster: apply a bundle, see what would change, wait until it serves, say why it does not, go back.

Plain dicts in and out; the kubernetes client is imported when a connection is made. Works beside kserve.KServeClient:
what that creates can be applied, waited for, shown and deleted here.
"""

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.applying import DryRun, Preview, Receipt, apply, preview
from kserve_ext.cluster.collect import find_service, learned_of, plan_of, read_bundles, take
from kserve_ext.cluster.connection import Where, connect
from kserve_ext.cluster.objects import read_manifests
from kserve_ext.cluster.readiness import Phase, Readiness, judge
from kserve_ext.cluster.status import Status, status_of
from kserve_ext.cluster.undoing import delete, rollback, what_is_ours
from kserve_ext.cluster.units import Unit, units_of
from kserve_ext.cluster.waiting import wait_gone, wait_ready

__all__ = [
    "Cluster", "DryRun", "Phase", "Preview", "Readiness", "Receipt", "Status", "Unit", "Where", "apply", "connect", "delete",
    "find_service", "judge", "learned_of", "plan_of", "preview", "read_bundles", "read_manifests", "rollback", "status_of",
    "take", "units_of", "wait_gone", "wait_ready", "what_is_ours",
]  # fmt: skip
