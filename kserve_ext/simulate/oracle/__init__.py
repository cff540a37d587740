"""The clairvoyant oracle: how few replicas would have done, had all requests been known, and where the others go."""

from kserve_ext.simulate.oracle.compiled import count_compiled
from kserve_ext.simulate.oracle.follow import OracleScaler, replay
from kserve_ext.simulate.oracle.ladder import Gap, Ladder, Rung, curve, ladder, regret
from kserve_ext.simulate.oracle.lateness import count_reference
from kserve_ext.simulate.oracle.solve import Oracle, solve, work_bound
from kserve_ext.simulate.oracle.table import LateTable, late_table
from kserve_ext.simulate.oracle.walk import Walk, achieve, walk
from kserve_ext.simulate.oracle.work import Work, cheapest_request_s

__all__ = [
    "Gap",
    "Ladder",
    "LateTable",
    "Oracle",
    "OracleScaler",
    "Rung",
    "Walk",
    "Work",
    "achieve",
    "cheapest_request_s",
    "count_compiled",
    "count_reference",
    "curve",
    "ladder",
    "late_table",
    "regret",
    "replay",
    "solve",
    "walk",
    "work_bound",
]
