"""The user's InferenceService and its plan in; the InferenceService filled in out.

What the user wrote stays as it is, in its place; the plan fills in what is absent. So rendering the result again with
the same plan changes nothing. No reason and no state is written here: each change of an annotation is a new Revision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from kserve_ext.domain import HorizontalScaling, Mode, Plan, Scaler, Service
from kserve_ext.errors import ManifestError, Problem
from kserve_ext.intent.mode import MODE_ANNOTATION, mode_of
from kserve_ext.intent.scaling import AUTOSCALER_CLASS, HPA_CLASS, autoscaler_class
from kserve_ext.render.environment import planned_environment
from kserve_ext.render.predictor_runtime import is_custom, predictor_runtime
from kserve_ext.render.runtime import CLUSTER_RUNTIMES, PROTOCOL_VERSION, runtime_name, standard_grace_s
from kserve_ext.render.text import decimal
from kserve_ext.units import format_cpu, format_mebibytes

AUTOSCALING = "autoscaling.knative.dev/"
_CONFIG_NAME = "--model-config-name"
_MAIN_CONTAINER = "kserve-container"


def render_inferenceservice(service: Service, plan: Plan) -> dict[str, Any]:
    """The manifest to apply. Raises ManifestError where the manifest contradicts the plan's protocol."""
    manifest: dict[str, Any] = _plain(service.manifest)
    mode = mode_of(manifest, service.source)
    annotations = _child(_child(manifest, "metadata"), "annotations")
    annotations.setdefault(MODE_ANNOTATION, mode.value)
    predictor = _child(_child(manifest, "spec"), "predictor")
    if mode is Mode.KNATIVE:
        _scale_in_knative(predictor, annotations, plan)
    else:
        _scale_in_standard(predictor, annotations, plan)
    if is_custom(manifest):
        _serve_custom(predictor, plan, mode, service.source)
    else:
        _serve(predictor, plan, service.source)
    return manifest


def names_our_runtime(manifest: Mapping[str, Any], plan: Plan) -> bool:
    """Whether a rendered InferenceService runs on the plan's own ServingRuntime and not on one the user chose."""
    return bool(manifest["spec"]["predictor"].get("model", {}).get("runtime") == runtime_name(plan))


def _scale_in_knative(predictor: dict[str, Any], annotations: Mapping[str, Any], plan: Plan) -> None:
    """Fields and annotations of the predictor alone: on the service itself they would reach a transformer as well."""
    predictor.setdefault("minReplicas", plan.scaling.min_replicas)
    predictor.setdefault("maxReplicas", plan.scaling.max_replicas)
    predictor.setdefault("containerConcurrency", plan.concurrency_limit)
    predictor.setdefault("timeout", math.ceil(plan.timeout_s))
    own = _child(predictor, "annotations")
    pinned = {*annotations, *own}
    # KServe writes scaleTarget (a whole number) and scaleMetric over the annotations: where the user has them, they are it.
    covered = {name for field, name in (("scaleTarget", "target"), ("scaleMetric", "metric")) if field in predictor}
    for name, value in autoscaling_annotations(plan).items():
        if name not in covered and not {AUTOSCALING + name, AUTOSCALING + _camel(name)} & pinned:
            own[AUTOSCALING + name] = value


def autoscaling_annotations(plan: Plan) -> dict[str, str]:
    """Knative's annotations without their prefix. min-scale and max-scale are absent: KServe drops them for its fields."""
    if plan.horizontal is not None:
        return _hpa_annotations(plan.horizontal, plan.scaling.initial_scale)
    scaling = plan.scaling
    from_zero = {}
    if scaling.activation_scale > 1:  # Knative refuses 1, which is what it does without
        from_zero["activation-scale"] = str(scaling.activation_scale)
    if scaling.min_replicas == 0:
        from_zero["scale-to-zero-pod-retention-period"] = f"{math.ceil(scaling.scale_to_zero_retention_s)}s"
    return {
        "metric": scaling.metric,
        "target": decimal(scaling.target),
        "target-utilization-percentage": decimal(scaling.target_utilization_percent),
        "panic-threshold-percentage": decimal(scaling.panic_threshold_percent),
        "panic-window-percentage": decimal(scaling.panic_window_percent),
        "target-burst-capacity": str(scaling.target_burst_capacity),
        "window": f"{math.ceil(scaling.window_s)}s",
        "scale-down-delay": f"{math.ceil(scaling.scale_down_delay_s)}s",
        "initial-scale": str(scaling.initial_scale),
        **from_zero,
    }


def _hpa_annotations(settings: HorizontalScaling, initial_scale: int) -> dict[str, str]:
    """Of Knative's HPA class. No window: one would hold back the way up as long as the way down."""
    return {
        "class": HPA_CLASS, "metric": "cpu", "target": decimal(settings.target), "initial-scale": str(initial_scale),
    }  # fmt: skip


def _scale_in_standard(predictor: dict[str, Any], annotations: dict[str, Any], plan: Plan) -> None:
    """Without a scaler of ours as many replicas as the busy rate needs, all the time: KServe's HPA knows no requests.

    containerConcurrency is left out, because nothing in this mode holds it.
    """
    scaler = plan.horizontal.scaler if plan.horizontal is not None else Scaler.FIXED
    if annotations.setdefault(AUTOSCALER_CLASS, autoscaler_class(scaler)) == "none":
        predictor.setdefault("minReplicas", plan.replicas_at_high_rate)
    else:
        predictor.setdefault("minReplicas", max(1, plan.scaling.min_replicas))
        predictor.setdefault("maxReplicas", plan.scaling.max_replicas)
    predictor.setdefault("timeout", math.ceil(plan.timeout_s))
    predictor.setdefault("terminationGracePeriodSeconds", standard_grace_s(plan.timeout_s))


def _serve_custom(predictor: dict[str, Any], plan: Plan, mode: Mode, source: str) -> None:
    """Resources, and the plan's numbers as environment variables; of ours the runtime for this mode and protocol."""
    model = predictor.get("model")
    if model:
        _check_protocol(model, plan, source)
        model.setdefault("protocolVersion", PROTOCOL_VERSION[plan.protocol])
        model["runtime"] = predictor_runtime(plan, mode)
    served = served_container(predictor)
    written = served.setdefault("env", [])
    names = {variable.get("name") for variable in written}
    planned = planned_environment(plan, mode, source, predictor.get("terminationGracePeriodSeconds"))
    written += [{"name": name, "value": text} for name, text in planned.items() if name not in names]
    _fill_resources(served, plan)


def served_container(predictor: Mapping[str, Any]) -> dict[str, Any]:
    """What serves the model, and has its resources: `model`, or of the user's own containers the main one."""
    containers: list[dict[str, Any]] = predictor.get("containers") or []
    found = next((one for one in containers if one.get("name") == _MAIN_CONTAINER), None)
    return predictor.get("model") or found or containers[0]


def _serve(predictor: dict[str, Any], plan: Plan, source: str) -> None:
    """Runtime, protocol, arguments and resources for Triton."""
    if "triton" in predictor:  # what KServe itself makes of the old key; only `model` can name a runtime
        predictor["model"] = {"modelFormat": {"name": "triton"}} | predictor.pop("triton")
    model = _child(predictor, "model")
    _check_protocol(model, plan, source)
    model.setdefault("protocolVersion", PROTOCOL_VERSION[plan.protocol])
    if model.get("runtime") in (None, *CLUSTER_RUNTIMES):  # to name one of ours is to ask for ours: here it is to size
        model["runtime"] = runtime_name(plan)
    args = model.setdefault("args", [])
    if not any(str(arg).startswith(_CONFIG_NAME) for arg in args):
        args.append(f"{_CONFIG_NAME}={plan.hardware}")
    _fill_resources(model, plan)


def _check_protocol(model: Mapping[str, Any], plan: Plan, source: str) -> None:
    wanted, written = PROTOCOL_VERSION[plan.protocol], model.get("protocolVersion")
    if written not in (None, wanted):
        raise ManifestError(
            Problem(
                file=source,
                field="spec.predictor.model.protocolVersion",
                what=f"contradicts the plan's protocol, {plan.protocol}",
                found=str(written),
                allowed=wanted,
            ),
            remedy="leave protocolVersion out, or set the annotation kserve-ext.dev/protocol to match",
        )


def _fill_resources(container: dict[str, Any], plan: Plan) -> None:
    """Request = limit for each resource that the user named in neither list: what was measured is what runs."""
    resources = _child(container, "resources")
    requests, limits = _child(resources, "requests"), _child(resources, "limits")
    planned = {"cpu": format_cpu(plan.resources.cpu_cores), "memory": format_mebibytes(plan.resources.memory_bytes)}
    planned |= {name: str(count) for name, count in plan.resources.accelerators.items()}
    for name, quantity in planned.items():
        if name not in requests and name not in limits:
            requests[name] = limits[name] = quantity
    for kind in ("requests", "limits"):
        if not resources[kind]:
            del resources[kind]


def _child(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping at `key`, made where there is none."""
    if not parent.get(key):
        parent[key] = {}
    child: dict[str, Any] = parent[key]
    return child


def _plain(value: Any) -> Any:
    """A deep copy in dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _camel(name: str) -> str:
    """Knative's other spelling of an annotation: `initial-scale` -> `initialScale`."""
    return re.sub(r"-(.)", lambda match: match[1].upper(), name)
