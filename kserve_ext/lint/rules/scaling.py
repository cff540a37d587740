"""Rules about Knative's pod autoscaler: settings that scale to the wrong number, or not at all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from kserve_ext.domain import Mode
from kserve_ext.intent.document import Node
from kserve_ext.lint.finding import Action, Edit, Hit, Severity, hit, remove, replace_value
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import number, whole
from kserve_ext.lint.service import Component, Service
from kserve_ext.lint.subjects import components, configured_services, knative
from kserve_ext.render.pbtxt import is_ensemble

_UTILIZATION_PERCENT = 70.0  # config-autoscaler container-concurrency-target-percentage
_PANIC_PERCENT = 200.0  # panic-threshold-percentage
_BURST = 211.0  # target-burst-capacity
_TOTAL = 100.0  # container-concurrency-target-default
_FIELDS = {"min-scale": "minReplicas", "max-scale": "maxReplicas"}
_SMALL_TARGET = 10.0  # in flight per replica: from here up one request more is not yet a replica more


def _dashed(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: "-" + letter[0].lower(), name)


def _setting(component: Component, name: str, default: float) -> float:
    """A number of an annotation in either spelling, or Knative's default."""
    for key, node in component.autoscaling.items():
        if _dashed(key) == name and (value := number(node)) is not None:
            return value
    return default


def _is_set(component: Component, name: str) -> bool:
    return any(_dashed(key) == name for key in component.autoscaling)


def _by_concurrency(component: Component) -> bool:
    metric = component.node.get("scaleMetric").value
    named = next((node.value for key, node in component.autoscaling.items() if key == "metric"), None)
    return (metric or named or "concurrency") == "concurrency"


def _limit(component: Component) -> int:
    return whole(component.node.get("containerConcurrency")) or 0


def _wanted(component: Component) -> float | None:
    """The target in flight that is written: scaleTarget wins over the annotation, as KServe writes it."""
    field = whole(component.node.get("scaleTarget"))
    if field:
        return float(field)
    written = _setting(component, "target", 0.0)
    return written or None


def _target(component: Component) -> float:
    """What Knative scales on: the smaller of target and limit, times the utilization."""
    limit, wanted = _limit(component), _wanted(component)
    total = wanted if wanted is not None else float(limit or _TOTAL)
    total = min(total, limit) if limit else total
    return max(0.01, total * _setting(component, "target-utilization-percentage", _UTILIZATION_PERCENT) / 100)


def _place(component: Component) -> Node:
    """Where the target is written: scaleTarget, the annotation, or containerConcurrency."""
    if component.node.get("scaleTarget").value is not None:
        return component.node.get("scaleTarget")
    return component.autoscaling.get("target") or component.node.get("containerConcurrency")


def _high(component: Component) -> int:
    return whole(component.node.get("maxReplicas")) or 0


def _low(component: Component) -> int:
    low = whole(component.node.get("minReplicas"))
    return 1 if low is None else low


@make(
    "KX301", "one-request-two-replicas", Severity.WARNING, knative,
    what="A concurrency target below one request in flight, such as containerConcurrency 1 at Knative's utilization of "
    "70 %.",
    leave="One request asks for ceil(1 / 0.7) = 2 replicas and starts panic mode: measured with a start of 20 s, two "
    "replicas are held for 80 s.",
    remedy='annotate the predictor with autoscaling.knative.dev/target-utilization-percentage: "100"',
)  # fmt: skip
def one_request(component: Component) -> Iterator[Hit]:
    target = _target(component)
    if _by_concurrency(component) and target < 1 and _high(component) != 1:
        pods = math.ceil(1 / target)
        yield hit(
            _place(component), f"the target is {target:g} in flight per replica: one request asks for {pods} replicas"
        )


@make(
    "KX302", "panic-with-one-replica", Severity.WARNING, knative,
    what="Knative's panic threshold at 200 % or below on a service that runs on one replica: with a GPU, or with a target "
    "of less than 10 in flight.",
    leave="Needed replicas are rounded up before they are compared, so with one replica panic starts just above 100 % of the "
    "target. Measured: target 2.8, 10 s with 2.9 in flight, a second replica for 64 s; none at a threshold of 210 %.",
    remedy="annotate autoscaling.knative.dev/panic-threshold-percentage with a value from 201 to 300",
)  # fmt: skip
def panic_with_one(component: Component) -> Iterator[Hit]:
    if not _by_concurrency(component) or _low(component) > 1 or _high(component) == 1:
        return
    small = (_wanted(component) is not None or _limit(component) > 0) and _target(component) < _SMALL_TARGET
    threshold = _setting(component, "panic-threshold-percentage", _PANIC_PERCENT)
    if threshold <= _PANIC_PERCENT and (component.accelerators or small):
        said = f"panic at {threshold:g} % with one replica starts just above {_target(component):g} in flight"
        yield hit(_place(component), said)


@make(
    "KX303", "activator-always-in-path", Severity.INFO, knative,
    what="A containerConcurrency so small that Knative's burst capacity of 211 keeps its activator in the path, and no "
    "target-burst-capacity that says what is wanted.",
    leave="The activator leaves only when the spare capacity of all replicas exceeds 211 requests: 53 idle replicas with "
    "containerConcurrency 4. Every request takes one hop more; in return it is sent to a replica with a free slot.",
    remedy="annotate autoscaling.knative.dev/target-burst-capacity: -1 to keep it on purpose, 0 to take it out",
)  # fmt: skip
def burst_capacity(component: Component) -> Iterator[Hit]:
    limit = _limit(component)
    if limit and not _is_set(component, "target-burst-capacity"):
        needed = math.ceil(_BURST / limit)
        if _high(component) == 0 or needed > _high(component):
            most = f"at most {_high(component)} are allowed" if _high(component) else "that many are rarely there"
            yield hit(component.node.get("containerConcurrency"),
                      f"{needed} idle replicas take the activator out of the path; {most}")  # fmt: skip


@make(
    "KX304", "first-replica-first", Severity.INFO, knative,
    what="containerConcurrency 2 or 3 with more than one replica.",
    leave="Up to 3, Knative's activator sends a request to the first replica with a free slot, not round robin: the first "
    "is always full and the last idle, so batches and latencies differ between replicas.",
    remedy="containerConcurrency 4 or more, or 1",
)  # fmt: skip
def first_replica(component: Component) -> Iterator[Hit]:
    if _limit(component) in (2, 3) and _high(component) != 1:
        yield hit(component.node.get("containerConcurrency"),
                  f"containerConcurrency {_limit(component)}: the first replica is filled first")  # fmt: skip


@make(
    "KX305", "initial-scale-zero", Severity.WARNING, knative,
    what="autoscaling.knative.dev/initial-scale 0 where the cluster does not allow it.",
    leave="KServe drops the annotation unless allow-zero-initial-scale is set in config-autoscaler: every new revision "
    "starts one replica, and needs its GPU, before it can be scaled to zero.",
    remedy="set allow-zero-initial-scale in config-autoscaler, or remove the annotation",
)  # fmt: skip
def initial_scale_zero(component: Component) -> Iterator[Hit]:
    facts = component.service.facts
    allowed = (
        facts is not None and facts.configmaps.get("config-autoscaler", {}).get("allow-zero-initial-scale") == "true"
    )
    for key, node in component.autoscaling.items():
        if _dashed(key) == "initial-scale" and number(node) == 0 and not allowed:
            yield hit(node, "initial-scale 0 is dropped unless allow-zero-initial-scale is set")


@make(
    "KX306", "initial-scale-above-need", Severity.WARNING, knative,
    what="An initial-scale above maxReplicas, or above minReplicas on a service with GPUs.",
    leave="Each rollout waits until that many replicas of the new revision run beside the old ones: with GPUs, that many "
    "more GPUs. The drop afterwards is not held back by scale-down-delay.",
    remedy="set initial-scale to minReplicas or lower",
)  # fmt: skip
def initial_scale_above(component: Component) -> Iterator[Hit]:
    for key, node in component.autoscaling.items():
        value = number(node)
        if _dashed(key) != "initial-scale" or value is None:
            continue
        if 0 < _high(component) < value:
            yield hit(node, f"initial-scale {value:g} is above maxReplicas {_high(component)}")
        elif component.accelerators and value > max(1, _low(component)):
            yield hit(node, f"initial-scale {value:g} with GPUs: each rollout needs {value:g} more replicas' GPUs")


@make(
    "KX307", "target-above-limit", Severity.WARNING, knative,
    what="A concurrency target above containerConcurrency.",
    leave="Knative takes the limit instead: the number that is written is not the one that is used.",
    remedy="set the target to containerConcurrency or below",
    fix="sets the target to containerConcurrency, which is what Knative uses",
)  # fmt: skip
def target_above_limit(component: Component) -> Iterator[Hit]:
    limit = _limit(component)
    if not limit or not _by_concurrency(component):
        return
    field = component.node.get("scaleTarget")
    nodes = (
        [field] if field.value is not None else [node for key, node in component.autoscaling.items() if key == "target"]
    )
    for node in nodes:
        value = number(node)
        if value is not None and value > limit:
            text = str(limit) if node is field else f'"{limit}"'
            yield hit(node, f"a target of {value:g} is above containerConcurrency {limit}: Knative takes {limit}",
                      edits=replace_value(node, text))  # fmt: skip


@make(
    "KX308", "target-given-twice", Severity.WARNING, knative,
    what="scaleTarget or scaleMetric beside the annotation for the same.",
    leave="KServe writes the field over the annotation: the annotation has no effect.",
    remedy="keep one; only the annotation takes a fraction",
    fix="removes the annotation",
)  # fmt: skip
def target_twice(component: Component) -> Iterator[Hit]:
    for field, name in (("scaleTarget", "target"), ("scaleMetric", "metric")):
        node = component.autoscaling.get(name)
        if node is not None and component.node.get(field).value is not None:
            yield hit(
                node, f"{field} {component.node.get(field).text} is written over this annotation", edits=remove(node)
            )


@make(
    "KX309", "scale-annotation-dropped", Severity.WARNING, components,
    what="autoscaling.knative.dev/min-scale or max-scale on a service.",
    leave="KServe drops both: minReplicas is 1 and maxReplicas unlimited, whatever the annotations say.",
    remedy="use minReplicas and maxReplicas",
    fix="moves the value to minReplicas or maxReplicas where that is not set, and removes the annotation",
)  # fmt: skip
def scale_annotation(component: Component) -> Iterator[Hit]:
    if component.service.mode is Mode.STANDARD:
        return
    for key, node in component.autoscaling.items():
        name = _dashed(key)
        own = node.path.startswith(component.node.path)
        if name in _FIELDS and (own or component.name == "predictor"):
            field, edits = _FIELDS[name], remove(node)
            count = str(node.value)
            if component.node.get(field).value is None and count.isdecimal():
                where, line = component.node.path, component.node.line
                edits = (*edits, Edit(action=Action.INSERT, line=line, field=where, text=f"{field}: {int(count)}"))
            yield hit(node, f"{key} is dropped by KServe; the field is {field}", edits=edits)


@make(
    "KX310", "no-maximum-with-gpu", Severity.WARNING, knative,
    what="A GPU service in Knative mode without maxReplicas.",
    leave="While replicas start, waiting requests count as load: 10 requests per second and a start of 60 s with a target of "
    "2.8 ask for 202 replicas where 4 in flight need 2. Only maxReplicas bounds that.",
    remedy="set maxReplicas to the GPUs that the service may take",
)  # fmt: skip
def no_maximum(component: Component) -> Iterator[Hit]:
    if component.accelerators and not _high(component):
        yield hit(
            component.node.get("maxReplicas"), "GPUs without maxReplicas: a slow start asks for replicas without end"
        )


@make(
    "KX311", "no-limit-with-slo", Severity.WARNING, knative,
    what="containerConcurrency 0 written beside an SLO.",
    leave="0 admits everything: under overload requests queue in the server without bound, and p99 with them.",
    remedy="set containerConcurrency to twice max_batch_size times instances, or let `kserve-ext plan` decide it",
)  # fmt: skip
def no_limit(component: Component) -> Iterator[Hit]:
    node = component.node.get("containerConcurrency")
    if node.value == 0 and component.service.slo_p99_s is not None:
        yield hit(node, "containerConcurrency 0 admits everything, and a p99 is asked for")


@make(
    "KX312", "scale-from-zero-without-warm-up", Severity.WARNING, configured_services,
    what="A Triton service that scales to zero, none of whose models has a model_warmup.",
    leave="The model is ready before its first execution: the request that woke it pays for kernels, arenas and engines as "
    "well, on top of the load.",
    remedy="add model_warmup with each batch size that is served; Triton is not ready until it has run",
)  # fmt: skip
def no_warm_up(service: Service) -> Iterator[Hit]:
    node = service.predictor.node.get("minReplicas")
    run = [one for one in service.configs if one.fault is None and not is_ensemble(one.message)]
    warm = any(one.message.model_warmup for one in run)
    if service.mode is not Mode.STANDARD and node.value == 0 and run and not warm:
        yield hit(node, f"scale from zero, and no model_warmup in {', '.join(one.model for one in run)}")


RULES = (
    one_request, panic_with_one, burst_capacity, first_replica, initial_scale_zero, initial_scale_above,
    target_above_limit, target_twice, scale_annotation, no_maximum, no_limit, no_warm_up,
)  # fmt: skip
