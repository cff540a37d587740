"""Rules about what Standard mode ignores, changes or refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kserve_ext.lint.finding import Hit, Severity, hit, remove
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import items, whole
from kserve_ext.lint.service import AUTOSCALER_CLASS, AUTOSCALING, Component
from kserve_ext.lint.subjects import standard

_OUTSIDE = ("external", "none")
_BARE_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def _class(component: Component) -> str:
    return component.service.autoscaler_class


@make(
    "KX140", "concurrency-limit-in-standard", Severity.WARNING, standard,
    what="containerConcurrency in Standard mode.",
    leave="KServe accepts it and nothing holds it: there is no queue-proxy. Under overload all requests reach the server, "
    "and p99 grows with the queue.",
    remedy="remove it; bound requests in front of the service, or use Knative mode",
    fix="removes the field from a predictor",
)  # fmt: skip
def concurrency_limit(component: Component) -> Iterator[Hit]:
    node = component.node.get("containerConcurrency")
    if node.value not in (None, 0) and component.name == "predictor":
        yield hit(node, f"containerConcurrency {node.text} is ignored in Standard mode", edits=remove(node))


@make(
    "KX141", "request-metric-in-standard", Severity.ERROR, standard,
    what="scaleMetric concurrency or rps in Standard mode.",
    leave=f"With {AUTOSCALER_CLASS}: hpa the webhook refuses the service. Without that annotation KServe accepts it and makes "
    "an HPA without metrics, which does not scale on requests.",
    remedy="use cpu or memory, KEDA with a Prometheus query, an HPA of your own with autoscalerClass external, or Knative",
)  # fmt: skip
def request_metric(component: Component) -> Iterator[Hit]:
    node = component.node.get("scaleMetric")
    if node.value in ("concurrency", "rps"):
        stated = component.service.annotations.get(AUTOSCALER_CLASS).value is not None
        outcome = "refused" if stated else "ignored"
        yield hit(node, f"scaleMetric {node.value} is {outcome} in Standard mode")


@make(
    "KX142", "hpa-rules-of-the-webhook", Severity.ERROR, standard,
    what="scaleMetric or scaleTarget that KServe's webhook refuses beside the autoscaler class: scaleMetric with keda, "
    "a cpu or memory target outside 1..100.",
    leave="KServe refuses the service. The check of cpu also catches memory targets above 100, although its message "
    "speaks of MiB: what is written is a percentage.",
    remedy="with keda use autoScaling.metrics; with hpa give a percentage from 1 to 100",
)  # fmt: skip
def hpa_rules(component: Component) -> Iterator[Hit]:
    metric, target = component.node.get("scaleMetric"), component.node.get("scaleTarget")
    if _class(component) == "keda" and metric.value is not None:
        yield hit(metric, "scaleMetric is refused with autoscalerClass keda", remedy="use autoScaling.metrics")
    value = whole(target)
    by_share = _class(component) == "hpa" and metric.value in (None, "cpu", "memory")
    if by_share and value is not None and not 1 <= value <= 100:
        yield hit(target, f"scaleTarget {value} is refused: a percentage from 1 to 100")


@make(
    "KX143", "metrics-that-hpa-ignores", Severity.WARNING, standard,
    what="autoScaling.metrics of type External or PodMetric without autoscalerClass keda.",
    leave="KServe's own HPA takes type Resource only: the others are accepted and ignored.",
    remedy=f"annotate {AUTOSCALER_CLASS}: keda, or bring an HPA or ScaledObject of your own with external",
)  # fmt: skip
def hpa_ignores(component: Component) -> Iterator[Hit]:
    if _class(component) != "hpa":
        return
    for metric in items(component.node.get("autoScaling", "metrics")):
        if metric.get("type").value in ("External", "PodMetric"):
            yield hit(metric.get("type"), f"a metric of type {metric.get('type').value} is ignored by KServe's HPA")


@make(
    "KX144", "behavior-ignored-in-standard", Severity.WARNING, standard,
    what="autoScaling.behavior in Standard mode.",
    leave="KServe's HPA always gets an empty behavior; with keda only stabilizationWindowSeconds arrives. Kubernetes' "
    "defaults act: up to +100 % or 4 pods each 15 s, down after the highest of 300 s.",
    remedy="autoscalerClass external with an HPA or ScaledObject of your own",
)  # fmt: skip
def behavior(component: Component) -> Iterator[Hit]:
    node = component.node.get("autoScaling", "behavior")
    for direction, wanted in node.items():
        lost = [name for name, _ in wanted.items() if not (_class(component) == "keda" and name.startswith("stabil"))]
        if lost and _class(component) not in _OUTSIDE:
            yield hit(
                wanted, f"behavior.{direction}: {', '.join(lost)} ignored with autoscalerClass {_class(component)}"
            )


@make(
    "KX145", "zero-replicas-in-standard", Severity.WARNING, standard,
    what="minReplicas 0 in Standard mode.",
    leave="The HPA raises it to 1. KEDA does scale to zero, but nothing holds the request that should wake the service: "
    "it fails, and every one until a pod is ready.",
    remedy="set minReplicas to 1, or use Knative mode, whose activator holds requests meanwhile",
)  # fmt: skip
def zero_replicas(component: Component) -> Iterator[Hit]:
    node = component.node.get("minReplicas")
    if node.value == 0 and _class(component) != "external":
        outcome = "nothing holds the waking request" if _class(component) == "keda" else "it is raised to 1"
        yield hit(node, f"minReplicas 0 in Standard mode with autoscalerClass {_class(component)}: {outcome}")


@make(
    "KX146", "never-scales-in-standard", Severity.WARNING, standard,
    what="A scaling metric or target in Standard mode, and no maxReplicas above minReplicas.",
    leave="maxReplicas 0 or absent means minReplicas: the HPA exists and never scales.",
    remedy="set maxReplicas",
)  # fmt: skip
def never_scales(component: Component) -> Iterator[Hit]:
    written = component.node.get("maxReplicas")
    scaled = [
        name for name in ("scaleMetric", "scaleTarget", "autoScaling") if component.node.get(name).value is not None
    ]
    if _class(component) in _OUTSIDE or not (scaled or written.value == 0):
        return
    if (whole(written) or 0) <= max(1, whole(component.node.get("minReplicas")) or 0) and written.value in (None, 0):
        why = f"with {', '.join(scaled)}" if scaled else "0 is not unlimited here"
        yield hit(written, f"maxReplicas is {written.text or 'not set'}, {why}: replicas stay at minReplicas")


@make(
    "KX147", "timeout-not-held-in-standard", Severity.INFO, standard,
    what="timeout in Standard mode.",
    leave="It becomes the timeout of the HTTPRoute only, where Gateway API is used. Nothing in the pod holds it: a request "
    "inside the cluster may run for ever.",
    remedy="set deadlines in the client",
)  # fmt: skip
def timeout_not_held(component: Component) -> Iterator[Hit]:
    node = component.node.get("timeout")
    # Our own rendered services carry it on purpose, for the route.
    if node.value is not None and component.service.slo_p99_s is None:
        yield hit(node, "timeout is not held in the pod in Standard mode")


@make(
    "KX148", "canary-ignored-in-standard", Severity.WARNING, standard,
    what="canaryTrafficPercent in Standard mode.",
    leave="It is ignored: the new version gets all of the traffic at once.",
    remedy="use Knative mode, or two services behind one route; spec.canary of KServe 0.20 starts pods but sets no weights",
    fix="removes the field",
)  # fmt: skip
def canary_ignored(component: Component) -> Iterator[Hit]:
    node = component.node.get("canaryTrafficPercent")
    if node.value is not None:
        yield hit(node, f"canaryTrafficPercent {node.text} is ignored in Standard mode", edits=remove(node))


@make(
    "KX149", "knative-annotation-in-standard", Severity.WARNING, standard,
    what=f"{AUTOSCALING} annotations on a service in Standard mode.",
    leave="Nothing reads them: there is no Knative autoscaler.",
    remedy="remove them, or use Knative mode",
    fix="removes the annotation",
)  # fmt: skip
def knative_annotation(component: Component) -> Iterator[Hit]:
    for node in component.autoscaling.values():
        own = node.path.startswith(component.node.path)
        if own or component.name == "predictor":
            yield hit(node, f"{node.path.rpartition('[')[2].rstrip(']')} has no effect in Standard mode",
                      edits=remove(node))  # fmt: skip


@make(
    "KX150", "spec-canary-without-weights", Severity.WARNING, standard,
    what="spec.canary (KServe 0.20).",
    leave="0.20.0 starts the canary's pods and sets no weights in the HTTPRoute: they get no share of the traffic that was "
    "asked for. The weights came after 0.20.0.",
    remedy="check that your KServe is later than 0.20.0",
)  # fmt: skip
def spec_canary(component: Component) -> Iterator[Hit]:
    node = component.service.node.get("spec", "canary")
    if component.name == "predictor" and node.value is not None:
        yield hit(node, "spec.canary sets no traffic weights in KServe 0.20.0")


@make(
    "KX151", "keda-metric-refused", Severity.ERROR, standard,
    what="autoScaling.metrics with autoscalerClass keda that the webhook refuses: cpu not by Utilization, an External or "
    "PodMetric without query or target value.",
    leave="KServe refuses the service.",
    remedy="cpu with target.type Utilization; External and PodMetric with query and target.value",
)  # fmt: skip
def keda_metric(component: Component) -> Iterator[Hit]:
    if _class(component) != "keda":
        return
    for metric in items(component.node.get("autoScaling", "metrics")):
        if metric.get("type").value == "Resource":
            resource = metric.get("resource")
            kind = resource.get("target", "type")
            if resource.get("name").value == "cpu" and kind.value not in (None, "Utilization"):
                yield hit(kind, f"cpu by {kind.found()}: only Utilization is taken")
        for name, source in (("external", "External"), ("podmetric", "PodMetric")):
            if metric.get("type").value == source:
                written = metric.get(name)
                for missing in (written.get("metric", "query"), written.get("target", "value")):
                    if missing.value in (None, ""):
                        yield hit(missing, f"a metric of type {source} without {missing.path.rpartition('.')[2]}")


@make(
    "KX152", "pod-metric-query", Severity.ERROR, standard,
    what="A PodMetric whose query is more than the name of a metric.",
    leave="KServe puts the query into sum(QUERY{namespace=…,deployment=…}): anything but a bare name becomes a query that "
    "does not parse, and a failed ScaledObject is only logged.",
    remedy="give the bare metric name; for a real query use type External with prometheus",
)  # fmt: skip
def pod_metric_query(component: Component) -> Iterator[Hit]:
    for metric in items(component.node.get("autoScaling", "metrics")):
        node = metric.get("podmetric", "metric", "query")
        if isinstance(node.value, str) and not _BARE_METRIC.fullmatch(node.value):
            yield hit(node, f"{node.found()} is not a bare metric name")


@make(
    "KX153", "maximum-without-an-autoscaler", Severity.WARNING, standard,
    what="maxReplicas above minReplicas with autoscalerClass none.",
    leave="The number of replicas is minReplicas, for ever.",
    remedy="remove maxReplicas, or choose hpa, keda or external",
)  # fmt: skip
def maximum_unused(component: Component) -> Iterator[Hit]:
    node, low = component.node.get("maxReplicas"), whole(component.node.get("minReplicas"))
    high = whole(node)
    if _class(component) == "none" and high is not None and high > (1 if low is None else low):
        yield hit(node, f"maxReplicas {high} has no effect with autoscalerClass none")


@make(
    "KX154", "prometheus-port-in-standard", Severity.WARNING, standard,
    what="serving.kserve.io/enable-prometheus-scraping or enable-metric-aggregation in Standard mode.",
    leave="KServe annotates a port (9091 or 9088) that nothing serves there: Prometheus scrapes it in vain.",
    remedy="set prometheus.io/scrape, /port and /path yourself; Triton's metrics are on port 8002",
)  # fmt: skip
def prometheus_port(component: Component) -> Iterator[Hit]:
    for name in ("enable-prometheus-scraping", "enable-metric-aggregation"):
        node = component.service.annotations.get(f"serving.kserve.io/{name}")
        if component.name == "predictor" and node.value in ("true", True):
            yield hit(node, f"{name} points Prometheus at a port that nothing serves in Standard mode")


RULES = (
    concurrency_limit, request_metric, hpa_rules, hpa_ignores, behavior, zero_replicas, never_scales, timeout_not_held,
    canary_ignored, knative_annotation, spec_canary, keda_metric, pod_metric_query, maximum_unused, prometheus_port,
)  # fmt: skip
