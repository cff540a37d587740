"""A service that is operated: its plan, the objects that belong to the plan, and what admission has left to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from kserve_ext.cluster.objects import Ref
from kserve_ext.domain import Mode, Plan, Profile, Scaler
from kserve_ext.errors import ModelError
from kserve_ext.intent.annotations import FLOOR, PLANNED
from kserve_ext.intent.mode import mode_of
from kserve_ext.operator.filled import Object, difference, planned_from
from kserve_ext.operator.learned import PROFILED, InForce
from kserve_ext.operator.models import Model
from kserve_ext.operator.review import Asked, is_intent, mark_of, planned
from kserve_ext.policy.learning import corrected
from kserve_ext.render.bundle import SCALING_FILES, render, render_plan, scaling_objects
from kserve_ext.render.inferenceservice import names_our_runtime, render_inferenceservice
from kserve_ext.render.predictor_runtime import is_custom
from kserve_ext.render.runtime import render_runtime

_BESIDE = (
    ("autoscaling/v2", "HorizontalPodAutoscaler", "scaler"), ("keda.sh/v1alpha1", "ScaledObject", "scaler"),
    ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "recommender"), ("apps/v1", "Deployment", "placeholder"),
)  # fmt: skip
_APPLIED = ("servingruntime.yaml", "plan.yaml", *SCALING_FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """A service with its plan. `digest` tells one question from another."""

    plan: Plan
    profile: Profile  # that the plan is made with
    measured: Profile  # without what was learned since
    digest: str
    knative: bool  # and not Standard mode
    floored: bool  # whether a floor may be raised for it


def is_asked_for(found: Object) -> bool:
    """Whether an InferenceService asks for a plan, and is not going away."""
    metadata = found["metadata"]
    return not metadata.get("deletionTimestamp") and any(map(is_intent, metadata.get("annotations") or {}))


def operated(found: Object, wanted: Asked, plan: Plan, model: Model, in_force: InForce = PROFILED) -> Operated:
    """The service as the loop needs it."""
    measured = model.profiles[plan.hardware]
    annotations = found["metadata"].get("annotations") or {}
    knative = mode_of(wanted.manifest) is Mode.KNATIVE
    return Operated(
        plan=plan, profile=corrected(measured, in_force.correction), measured=measured,
        digest=f"{wanted.service.intent!r} {model.digest} {in_force!r}", knative=knative,
        floored=(knative or is_foretold(plan)) and annotations.get(FLOOR, "on") == "on",
    )  # fmt: skip


def is_foretold(plan: Plan) -> bool:
    """Whether a forecast is of use in Standard mode: as a metric of the scaler that goes by requests."""
    return plan.horizontal is not None and plan.horizontal.scaler is Scaler.KEDA_RPS


def left_to_fill(found: Object, wanted: Asked, plan: Plan) -> dict[str, Any] | None:
    """The merge patch for a service that was admitted as written; None where admission did its work, or a person did.

    Fields that were planned for what is asked stay as they are: another profile alone changes no running service.
    """
    if PLANNED in (found["metadata"].get("annotations") or {}) and planned_from(found) in (
        "",
        mark_of(wanted.manifest),
    ):
        return None
    if not difference(wanted.manifest, render_inferenceservice(wanted.service, plan)):
        return None
    return merge_patch(found, planned(found, wanted, plan))


def objects_of(found: Object, wanted: Asked, plan: Plan, model: Model) -> Iterator[dict[str, Any]]:
    """What belongs to a service beside itself: its own ServingRuntime, what scales it, the ConfigMap with every reason."""
    namespace = wanted.service.intent.namespace
    try:
        files = render(wanted.service, plan, model.configs).files
        objects = [yaml.safe_load(files[name]) for name in _APPLIED if name in files]
    except ModelError:  # a model whose configs are not known here
        manifest = render_inferenceservice(wanted.service, plan)
        objects = [render_plan(plan, (), namespace), *scaling_objects(wanted.service, plan, manifest).values()]
        if names_our_runtime(manifest, plan) and not is_custom(manifest):
            objects.append(render_runtime(plan, mode=mode_of(manifest), namespace=namespace))
    owner = {
        "apiVersion": found["apiVersion"], "kind": found["kind"], "name": found["metadata"]["name"],
        "uid": found["metadata"]["uid"],
    }  # fmt: skip
    for one in objects:
        one["metadata"] |= {"namespace": namespace, "ownerReferences": [owner]}
        yield one


def left_over(wanted: Asked, plan: Plan) -> tuple[Ref, ...]:
    """What another plan of the service may have had beside it, and this one has not."""
    manifest = render_inferenceservice(wanted.service, plan)
    kept = {one["kind"] for one in scaling_objects(wanted.service, plan, manifest).values()}
    return tuple(
        Ref(api_version=version, kind=kind, namespace=wanted.service.intent.namespace, name=f"{plan.service}-{suffix}")
        for version, kind, suffix in _BESIDE
        if kind not in kept
    )


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What to merge into `before` to get `after`."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before:
            patch[key] = value
        elif isinstance(value, Mapping) and isinstance(before[key], Mapping):
            if inner := merge_patch(before[key], value):
                patch[key] = inner
        elif before[key] != value:
            patch[key] = value
    return patch
