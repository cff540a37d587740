"""Rules about what Knative mode ignores, drops or refuses."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_ext.lint.finding import Hit, Severity, hit, remove
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import items, whole
from kserve_ext.lint.service import AUTOSCALER_CLASS, Component
from kserve_ext.lint.subjects import knative

_MAX_TIMEOUT_S = 600  # config-defaults max-revision-timeout-seconds
_MAX_CONCURRENCY = 1000  # config-defaults container-concurrency-max-limit
_PORT_NAMES = (None, "", "http1", "h2c", "user-port")
# Pod fields that Knative takes only with a feature flag, all of them off as installed.
FLAGGED = {
    "nodeSelector": "kubernetes.podspec-nodeselector",
    "affinity": "kubernetes.podspec-affinity",
    "tolerations": "kubernetes.podspec-tolerations",
    "topologySpreadConstraints": "kubernetes.podspec-topologyspreadconstraints",
    "schedulerName": "kubernetes.podspec-schedulername",
    "runtimeClassName": "kubernetes.podspec-runtimeclassname",
    "priorityClassName": "kubernetes.podspec-priorityclassname",
    "initContainers": "kubernetes.podspec-init-containers",
    "shareProcessNamespace": "kubernetes.podspec-shareprocessnamespace",
    "hostNetwork": "kubernetes.podspec-hostnetwork",
    "hostIPC": "kubernetes.podspec-hostipc",
    "hostPID": "kubernetes.podspec-hostpid",
    "dnsPolicy": "kubernetes.podspec-dnspolicy",
    "dnsConfig": "kubernetes.podspec-dnsconfig",
    "storageUris": "kubernetes.podspec-init-containers",  # fetched by an init container in the Knative Service
}
_PVC_FLAG = "kubernetes.podspec-persistent-volume-claim"


def flagged_fields(component: Component) -> Iterator[tuple[Hit, str]]:
    """What needs a feature flag of Knative, each as a hit without a verdict, and the flag."""
    holders = [component.node]
    runtime = component.service.runtime
    if component.name == "predictor" and runtime is not None:
        holders.append(runtime.node.get("spec"))
    for holder in holders:
        for name, flag in FLAGGED.items():
            node = holder.get(name)
            if node.value not in (None, (), {}):
                yield hit(node, f"{name} needs Knative's {flag}"), flag
        for volume in items(holder.get("volumes")):
            if volume.get("persistentVolumeClaim").value is not None:
                node = volume.get("persistentVolumeClaim")
                yield hit(node, f"a persistentVolumeClaim needs Knative's {_PVC_FLAG}"), _PVC_FLAG


@make(
    "KX110", "autoscaling-ignored-in-knative", Severity.WARNING, knative,
    what="autoScaling (metrics, behavior) on a component in Knative mode.",
    leave="KServe accepts it and Knative never sees it: the service scales on Knative's defaults, 100 requests in flight "
    "per replica where no containerConcurrency is set.",
    remedy="use scaleMetric and scaleTarget, or autoscaling.knative.dev/ annotations; or Standard mode with KEDA",
    fix="removes the field",
)  # fmt: skip
def autoscaling_ignored(component: Component) -> Iterator[Hit]:
    node = component.node.get("autoScaling")
    if node.value is not None:
        yield hit(node, "autoScaling is ignored in Knative mode", edits=remove(node))


@make(
    "KX111", "deployment-strategy-in-knative", Severity.ERROR, knative,
    what="deploymentStrategy on a component in Knative mode.",
    leave="KServe's webhook refuses the service: Knative rolls out by revisions, not by a Deployment's strategy.",
    remedy="remove it; for fewer pods at a rollout use Standard mode, or serving-progressive-rollout",
    fix="removes the field",
)  # fmt: skip
def deployment_strategy(component: Component) -> Iterator[Hit]:
    node = component.node.get("deploymentStrategy")
    if node.value is not None:
        yield hit(node, "deploymentStrategy is refused in Knative mode", edits=remove(node))


@make(
    "KX112", "grace-period-in-knative", Severity.ERROR, knative,
    what="terminationGracePeriodSeconds on a component in Knative mode.",
    leave="KServe accepts the service and Knative refuses the revision: the service never becomes ready. A pod's grace "
    "period there is always the service's timeout.",
    remedy="remove it and set timeout to the longest that a request may take",
    fix="removes the field",
)  # fmt: skip
def grace_period(component: Component) -> Iterator[Hit]:
    node = component.node.get("terminationGracePeriodSeconds")
    if node.value is not None:
        yield hit(node, "terminationGracePeriodSeconds is refused by Knative", edits=remove(node))


@make(
    "KX113", "several-ports-in-knative", Severity.ERROR, knative,
    what="More than one container port in Knative mode, in the service or in the runtime that it names.",
    leave="Knative refuses the revision: a service there is HTTP or gRPC, not both.",
    remedy="keep one port (http1 for HTTP, h2c for gRPC), or use Standard mode for both protocols on one service",
)  # fmt: skip
def several_ports(component: Component) -> Iterator[Hit]:
    runtime = component.service.runtime if component.name == "predictor" else None
    holders = (*((runtime.container,) if runtime else ()), *component.containers)
    # A service's ports are merged into its runtime's by number, not put in their place.
    merged = {port.get("containerPort").text: port for holder in holders for port in items(holder.get("ports"))}
    if len(merged) > 1:
        last = next(port for port in reversed(merged.values()))
        yield hit(last, f"ports {', '.join(merged)}: Knative takes one port for a service")


@make(
    "KX114", "port-name-in-knative", Severity.ERROR, knative,
    what="A container port in Knative mode with a name other than http1 or h2c.",
    leave="Knative refuses the revision: it reads the protocol from the name.",
    remedy="name the port http1 for HTTP/1 or h2c for gRPC",
)  # fmt: skip
def port_name(component: Component) -> Iterator[Hit]:
    for container in component.containers:
        for port in items(container.get("ports")):
            if port.get("name").value not in _PORT_NAMES:
                name = port.get("name")
                yield hit(name, f"port name {name.found()}: Knative takes http1 or h2c")


@make(
    "KX115", "needs-a-knative-feature", Severity.WARNING, knative,
    what="Pod fields that Knative takes only with a feature flag: nodeSelector, affinity, tolerations, topology spread, "
    "scheduler, runtime class, priority, init containers, storageUris, persistent volume claims.",
    leave="All these flags are off as installed. KServe accepts the service and does not warn; Knative then refuses the "
    "revision and the service never becomes ready.",
    remedy="switch the flag on in the configmap config-features in knative-serving, or use Standard mode; with "
    "--cluster-facts this is checked against the cluster",
)  # fmt: skip
def needs_a_feature(component: Component) -> Iterator[Hit]:
    facts = component.service.facts
    for found, flag in flagged_fields(component):
        if facts is None or facts.feature(flag) is None:
            yield Hit(place=found.place, message=f"{found.message}, which is off as installed")


@make(
    "KX116", "feature-off-in-this-cluster", Severity.ERROR, knative,
    what="A pod field whose Knative feature flag is off in the cluster that --cluster-facts describes.",
    leave="KServe accepts the service; Knative refuses the revision and the service never becomes ready.",
    remedy="switch the flag on in the configmap config-features in knative-serving, or use Standard mode",
)  # fmt: skip
def feature_off(component: Component) -> Iterator[Hit]:
    facts = component.service.facts
    for found, flag in flagged_fields(component):
        if facts is not None and facts.feature(flag) is False:
            yield Hit(place=found.place, message=f"{found.message}, which is off in this cluster",
                      remedy=f"set {flag}: enabled in config-features, or use Standard mode")  # fmt: skip


@make(
    "KX117", "resource-claims-in-knative", Severity.ERROR, knative,
    what="resourceClaims (dynamic resource allocation) in Knative mode.",
    leave="Knative has no such field and no flag for it: the claim is refused or lost, and the pod gets no device.",
    remedy="ask for an extended resource such as nvidia.com/mig-1g.10gb in limits, or use Standard mode",
)  # fmt: skip
def resource_claims(component: Component) -> Iterator[Hit]:
    node = component.node.get("resourceClaims")
    if node.value is not None:
        yield hit(node, "Knative takes no resourceClaims")


@make(
    "KX118", "scale-metric-in-knative", Severity.ERROR, knative,
    what="scaleMetric cpu or memory in Knative mode without Knative's HPA class, or an rps target below 1.",
    leave="KServe's webhook refuses the service.",
    remedy="use concurrency or rps; cpu and memory need autoscaling.knative.dev/class: hpa.autoscaling.knative.dev, which "
    "never scales to zero",
)  # fmt: skip
def scale_metric(component: Component) -> Iterator[Hit]:
    metric, target = component.node.get("scaleMetric"), component.node.get("scaleTarget")
    classes = component.autoscaling.get("class")
    by_hpa = classes is not None and str(classes.value).startswith("hpa.")
    if metric.value in ("cpu", "memory") and not by_hpa:
        yield hit(metric, f"scaleMetric {metric.value} is refused in Knative mode")
    elif metric.value == "rps" and (whole(target) or 1) < 1:
        yield hit(target, f"a target of {target.value} rps is refused: 1 or more")


@make(
    "KX119", "autoscaler-class-in-knative", Severity.WARNING, knative,
    what=f"The annotation {AUTOSCALER_CLASS} in Knative mode.",
    leave="It is for Standard mode only. Here Knative's autoscaler scales the service whatever it says.",
    remedy="remove it, or use Standard mode; Knative's own annotation is autoscaling.knative.dev/class",
    fix="removes the annotation",
)  # fmt: skip
def autoscaler_class(component: Component) -> Iterator[Hit]:
    node = component.service.annotations.get(AUTOSCALER_CLASS)
    if component.name == "predictor" and node.value is not None:
        yield hit(node, f"{node.found()} has no effect in Knative mode", edits=remove(node))


@make(
    "KX120", "timeout-above-knative-limit", Severity.ERROR, knative,
    what="A timeout above what Knative allows (600 s as installed; the cluster's own limit with --cluster-facts).",
    leave="KServe accepts the service and Knative refuses the revision.",
    remedy="lower timeout, or raise max-revision-timeout-seconds in config-defaults, and with it the time a pod holds its "
    "GPU after scale-down: the grace period is the timeout",
)  # fmt: skip
def timeout_limit(component: Component) -> Iterator[Hit]:
    node, facts = component.node.get("timeout"), component.service.facts
    most = facts.setting("config-defaults", "max-revision-timeout-seconds", _MAX_TIMEOUT_S) if facts else _MAX_TIMEOUT_S
    if (value := whole(node)) is not None and value > most:
        yield hit(node, f"timeout {value} s; Knative allows {most:g} s")


@make(
    "KX121", "concurrency-above-knative-limit", Severity.ERROR, knative,
    what="A containerConcurrency above what Knative allows (1000 as installed).",
    leave="KServe accepts the service and Knative refuses the revision.",
    remedy="lower containerConcurrency, set 0 for no limit, or raise container-concurrency-max-limit in config-defaults",
)  # fmt: skip
def concurrency_limit(component: Component) -> Iterator[Hit]:
    node, facts = component.node.get("containerConcurrency"), component.service.facts
    key = "container-concurrency-max-limit"
    most = facts.setting("config-defaults", key, _MAX_CONCURRENCY) if facts else _MAX_CONCURRENCY
    if (value := whole(node)) is not None and value > most:
        yield hit(node, f"containerConcurrency {value}; Knative allows {most:g}")


@make(
    "KX122", "lifecycle-in-knative", Severity.ERROR, knative,
    what="A lifecycle hook (preStop, postStart) on a container in Knative mode.",
    leave="Knative refuses the revision. It sets a preStop hook of its own, which waits until queue-proxy has drained.",
    remedy="remove it: Triton gets its SIGTERM after the last request there anyway",
    fix="removes the field",
)  # fmt: skip
def lifecycle(component: Component) -> Iterator[Hit]:
    for container in component.containers:
        node = container.get("lifecycle")
        if node.value is not None:
            yield hit(node, "lifecycle hooks are refused by Knative", edits=remove(node))


@make(
    "KX123", "slow-probe-at-cold-start", Severity.INFO, knative,
    what="A startupProbe or an exec readinessProbe on a service in Knative mode that may scale to zero.",
    leave="Knative's activator probes a new pod every 200 ms and sends it requests before the kubelet calls it ready, but "
    "not with these probes: the kubelet's probe period is added to every cold start.",
    remedy="use an httpGet, tcpSocket or grpc readinessProbe, and no startupProbe",
)  # fmt: skip
def slow_probe(component: Component) -> Iterator[Hit]:
    if component.node.get("minReplicas").value != 0:
        return
    runtime = component.service.runtime if component.name == "predictor" else None
    for container in (*component.containers, *((runtime.container,) if runtime else ())):
        for node in (container.get("startupProbe"), container.get("readinessProbe", "exec")):
            if node.value is not None:
                yield hit(node, f"{node.path.rpartition('.')[2]} slows every cold start by the kubelet's probe period")


@make(
    "KX124", "spec-canary-in-knative", Severity.ERROR, knative,
    what="spec.canary (KServe 0.20) in Knative mode.",
    leave="KServe's webhook refuses it: it is for Standard mode, and says so in an annotation that must be there.",
    remedy="use predictor.canaryTrafficPercent, which splits traffic between revisions",
)  # fmt: skip
def spec_canary(component: Component) -> Iterator[Hit]:
    node = component.service.node.get("spec", "canary")
    if component.name == "predictor" and node.value is not None:
        yield hit(node, "spec.canary is refused in Knative mode")


RULES = (
    autoscaling_ignored, deployment_strategy, grace_period, several_ports, port_name, needs_a_feature, feature_off,
    resource_claims, scale_metric, autoscaler_class, timeout_limit, concurrency_limit, lifecycle, slow_probe, spec_canary,
)  # fmt: skip
