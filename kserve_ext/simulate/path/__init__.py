"""The path of a request on Knative, request by request: ingress or activator, queue-proxy, Triton; and its edges in time.

`serve_path` runs arrivals through it, `serve_scaled` does with an autoscaler, `Route` is for a caller that moves time.
"""

from kserve_ext.simulate.path.balancing import Balancing, activator_balancing
from kserve_ext.simulate.path.lifecycle import gone_s, noticed_s
from kserve_ext.simulate.path.nodes import ClusterAutoscaler, Karpenter, NodeAutoscaler, node_ready_s
from kserve_ext.simulate.path.route import Ended, Ending, Route
from kserve_ext.simulate.path.scaled import Scaled, Step, serve_scaled
from kserve_ext.simulate.path.serve import Presence, Served, serve_path

__all__ = [
    "Balancing",
    "ClusterAutoscaler",
    "Ended",
    "Ending",
    "Karpenter",
    "NodeAutoscaler",
    "Presence",
    "Route",
    "Scaled",
    "Served",
    "Step",
    "activator_balancing",
    "gone_s",
    "node_ready_s",
    "noticed_s",
    "serve_path",
    "serve_scaled",
]
