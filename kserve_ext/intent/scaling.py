"""Which scalers go with which mode, and with what else is written: a table of what cannot work, and why.

The nodes of a service and its annotations' values in; what is wrong is noted in `problems`, and reading goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kserve_ext.domain import Mode, Scaler
from kserve_ext.errors import Problem
from kserve_ext.intent.annotations import PREFIX
from kserve_ext.intent.document import Node
from kserve_ext.intent.mode import MODE_ANNOTATION, MODE_NAMES

AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"  # KServe's own choice in Standard mode
HPA_CLASS = "hpa.autoscaling.knative.dev"
_CLASS, _METRIC = "autoscaling.knative.dev/class", "autoscaling.knative.dev/metric"
_KNATIVE = (Scaler.KPA, Scaler.KNATIVE_HPA)
_OF_SEVERAL = (Scaler.KPA, Scaler.KEDA_RPS, Scaler.FIXED)  # requests of several models add up
_FROM_ZERO = (Scaler.KPA, Scaler.KEDA_RPS)


def autoscaler_class(scaler: Scaler) -> str:
    """The class that keeps KServe's own HPA away from a scaler of Standard mode."""
    return "none" if scaler is Scaler.FIXED else "external"


def check_scaling(service: Node, values: Mapping[str, Any], problems: list[Problem]) -> None:
    """Note every annotation that contradicts the scaler, or that the scaler needs and that is missing."""
    annotations = service.get("metadata", "annotations")
    mode = MODE_NAMES.get(str(annotations.get(MODE_ANNOTATION).value or Mode.KNATIVE.value))
    scaler = values.get("scaler")
    if mode is None or (scaler is None and _ours(annotations, "scaler").value is not None):  # said elsewhere
        return
    problems += _vertical(annotations, values, mode)
    problems += _prometheus(service, annotations, values, scaler)
    if scaler is not None:
        problems += _mode(annotations, scaler, mode)
        problems += _by_hand(service, annotations, scaler)
        problems += _metric(service, annotations, scaler)
        problems += _zero(service, annotations, scaler)
        problems += _several_models(annotations, values, scaler)


def _mode(annotations: Node, scaler: Scaler, mode: Mode) -> Iterator[Problem]:
    wanted = Mode.KNATIVE if scaler in _KNATIVE else Mode.STANDARD
    if mode is not wanted:
        yield _ours(annotations, "scaler").problem(
            f"not in {mode} mode", allowed=f"{_listed(mode)}; or {MODE_ANNOTATION}: {wanted}"
        )


def _listed(mode: Mode) -> str:
    return ", ".join(one for one in Scaler if (one in _KNATIVE) is (mode is Mode.KNATIVE))


def _by_hand(service: Node, annotations: Node, scaler: Scaler) -> Iterator[Problem]:
    """A class of Knative's or KServe's that names another scaler."""
    for written in (annotations, service.get("spec", "predictor", "annotations")):
        if (known := written.get(_CLASS)).value is not None:
            wanted = HPA_CLASS if scaler is Scaler.KNATIVE_HPA else "kpa.autoscaling.knative.dev"
            if known.value != wanted:
                yield known.problem(f"another scaler than {PREFIX}scaler: {scaler}", allowed=wanted)
    known = annotations.get(AUTOSCALER_CLASS)
    if scaler not in _KNATIVE and known.value not in (None, autoscaler_class(scaler)):
        what = f"KServe's own autoscaler beside {PREFIX}scaler: {scaler}, and both would set the replicas"
        yield known.problem(what, allowed=autoscaler_class(scaler))


def _metric(service: Node, annotations: Node, scaler: Scaler) -> Iterator[Problem]:
    """A metric by hand that the scaler does not go by."""
    predictor, wanted = service.get("spec", "predictor"), _METRICS.get(scaler, "")
    if scaler is Scaler.KPA:
        return
    for written in (predictor.get("scaleMetric"), annotations.get(_METRIC), predictor.get("annotations", _METRIC)):
        if written.value not in (None, wanted):
            yield written.problem(f"not what {PREFIX}scaler: {scaler} goes by", allowed=wanted or "leave it out")


_METRICS = {Scaler.KNATIVE_HPA: "cpu", Scaler.HPA: "cpu", Scaler.KEDA_RPS: "rps"}


def _zero(service: Node, annotations: Node, scaler: Scaler) -> Iterator[Problem]:
    """Zero replicas asked for from a scaler that keeps one."""
    least = service.get("spec", "predictor", "minReplicas")
    others = ", ".join(_FROM_ZERO)
    if least.value == 0 and scaler not in _FROM_ZERO:
        yield least.problem(f"{scaler} cannot start from zero: {_WHY[scaler]}", allowed=f"1 or more; or {others}")
    budget = _ours(annotations, "cold-start-budget")
    if budget.value is not None and scaler is not Scaler.KPA:
        yield budget.problem(
            f"{scaler} holds no request while a replica starts: in its place the request fails", found="",
            allowed=f"with {PREFIX}scaler: {Scaler.KPA} only",
        )  # fmt: skip


_WHY = {
    Scaler.KNATIVE_HPA: "a HorizontalPodAutoscaler is switched off at zero replicas",
    Scaler.HPA: "a HorizontalPodAutoscaler is switched off at zero replicas",
    Scaler.KEDA_QUEUE: "no pod, no queue to measure",
    Scaler.KEDA_GPU: "no pod, no GPU to measure",
    Scaler.FIXED: "nothing would ever start one",
}


def _prometheus(
    service: Node, annotations: Node, values: Mapping[str, Any], scaler: Scaler | None
) -> Iterator[Problem]:  # fmt: skip
    asked = scaler is not None and scaler.by_keda
    namespace = service.get("metadata", "namespace")
    if asked and namespace.value is None:
        yield namespace.problem(f"missing: the query of {scaler} names it", found="", allowed="namespace: models")
    node = _ours(annotations, "prometheus")
    if asked and node.value is None:
        yield node.problem(
            f"missing: {scaler} has nobody to ask", found="", allowed="http://prometheus.monitoring:9090"
        )
    if not asked and values.get("prometheus") is not None:
        yield node.problem("nobody asks it", found="", allowed=f"with {PREFIX}scaler: keda-rps, keda-queue or keda-gpu")


def _several_models(annotations: Node, values: Mapping[str, Any], scaler: Scaler) -> Iterator[Problem]:
    if values.get("neighbours") and scaler not in _OF_SEVERAL:
        what = f"{scaler} has one target, and each of several models would have its own"
        yield _ours(annotations, "scaler").problem(what, found="", allowed=", ".join(_OF_SEVERAL))


def _vertical(annotations: Node, values: Mapping[str, Any], mode: Mode) -> Iterator[Problem]:
    if values.get("vertical") and mode is Mode.KNATIVE:
        yield _ours(annotations, "vertical").problem(
            "not in Knative mode: a recommendation is of one Deployment, and each Revision has another", found="",
            allowed=f"off; or {MODE_ANNOTATION}: {Mode.STANDARD}",
        )  # fmt: skip


def _ours(annotations: Node, key: str) -> Node:
    return annotations.get(PREFIX + key)
