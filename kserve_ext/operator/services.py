"""A service that is operated: its plan, the objects that belong to the plan, and what admission has left to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from kserve_ext.domain import Plan, Profile
from kserve_ext.errors import ModelError
from kserve_ext.intent.annotations import FLOOR, PLANNED
from kserve_ext.intent.mode import Mode, mode_of
from kserve_ext.operator.filled import Object, difference
from kserve_ext.operator.models import Model
from kserve_ext.operator.review import Asked, is_intent, planned
from kserve_ext.render.bundle import render, render_plan
from kserve_ext.render.inferenceservice import names_our_runtime, render_inferenceservice
from kserve_ext.render.predictor_runtime import is_custom
from kserve_ext.render.runtime import render_runtime

_APPLIED = ("servingruntime.yaml", "plan.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """A service with its plan. `digest` tells one question from another."""

    plan: Plan
    profile: Profile
    digest: str
    floored: bool  # whether a floor may be raised for it


def is_asked_for(found: Object) -> bool:
    """Whether an InferenceService asks for a plan, and is not going away."""
    metadata = found["metadata"]
    return not metadata.get("deletionTimestamp") and any(map(is_intent, metadata.get("annotations") or {}))


def operated(found: Object, wanted: Asked, plan: Plan, model: Model) -> Operated:
    """The service as the loop needs it."""
    annotations = found["metadata"].get("annotations") or {}
    floored = annotations.get(FLOOR, "on") == "on" and mode_of(wanted.manifest) is Mode.KNATIVE
    return Operated(plan=plan, profile=model.profiles[plan.hardware],
                    digest=f"{wanted.service.intent!r} {model.digest}", floored=floored)  # fmt: skip


def left_to_fill(found: Object, wanted: Asked, plan: Plan) -> dict[str, Any] | None:
    """The merge patch for a service that was admitted as written; None where admission did its work, or a person did.

    Fields that were planned once stay as they are: another profile alone changes no running service.
    """
    if PLANNED in (found["metadata"].get("annotations") or {}):
        return None
    if not difference(wanted.manifest, render_inferenceservice(wanted.service, plan)):
        return None
    return merge_patch(found, planned(found, wanted, plan))


def objects_of(found: Object, wanted: Asked, plan: Plan, model: Model) -> Iterator[dict[str, Any]]:
    """The ServingRuntime that the service names, where it is the plan's own, and the ConfigMap with every reason."""
    namespace = wanted.service.intent.namespace
    try:
        files = render(wanted.service, plan, model.configs).files
        objects = [yaml.safe_load(files[name]) for name in _APPLIED if name in files]
    except ModelError:  # a model whose configs are not known here
        manifest = render_inferenceservice(wanted.service, plan)
        objects = [render_plan(plan, (), namespace)]
        if names_our_runtime(manifest, plan) and not is_custom(manifest):
            objects.append(render_runtime(plan, mode=mode_of(manifest), namespace=namespace))
    owner = {
        "apiVersion": found["apiVersion"], "kind": found["kind"], "name": found["metadata"]["name"],
        "uid": found["metadata"]["uid"],
    }  # fmt: skip
    for one in objects:
        one["metadata"] |= {"namespace": namespace, "ownerReferences": [owner]}
        yield one


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
