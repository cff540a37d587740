"""An AdmissionReview in, its answer out: the plan as a patch and as warnings, or a refusal with the reason. Pure.

What is asked of a planner, and of the linter, is handed in. An object without our annotations is let through untouched.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_ext.domain import Plan, Service
from kserve_ext.errors import InfeasibleError, KserveExtError, ManifestError
from kserve_ext.intent.annotations import INFEASIBLE, NOT_INTENT, PLANNED, PREFIX
from kserve_ext.intent.read import read_node
from kserve_ext.lint.manifest import read_objects
from kserve_ext.operator.filled import Object, as_written, bare, copied, difference, note, patch
from kserve_ext.operator.words import admitted_lines, contradiction_lines, one_line, plan_lines
from kserve_ext.render.inferenceservice import render_inferenceservice

_REFUSED = 422
_MOST_WARNINGS = 12
_NOT_COMPARED = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "finalizers",
                 "ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What the API server asks."""

    uid: str
    operation: str
    found: Object
    old: Object | None
    dry_run: bool = False
    author: str = ""  # who sent it, as the API server knows them

    @property
    def where(self) -> str:
        """The object's name, for errors."""
        metadata = self.found.get("metadata") or {}
        return f"{metadata.get('namespace', 'default')}/{metadata.get('name') or metadata.get('generateName', '')}"

    @property
    def concerns_us(self) -> bool:
        """Whether there is anything to do: our annotations, and a change of what a person decides."""
        metadata = self.found.get("metadata") or {}
        ours = any(is_intent(key) for key in metadata.get("annotations") or {})
        leaving = self.operation == "DELETE" or bool(metadata.get("deletionTimestamp"))
        return ours and not leaving and not (self.old is not None and _told(self.old) == _told(self.found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What has to be planned: the service as a person wrote it."""

    service: Service
    manifest: Object


def read_review(body: Any) -> Review:
    """The review in a request's JSON. Raises ManifestError."""
    request = body.get("request") if isinstance(body, Mapping) else None
    if not isinstance(request, Mapping) or not isinstance(request.get("uid"), str):
        raise ManifestError(remedy="POST an AdmissionReview of admission.k8s.io/v1")
    old = request.get("oldObject")
    return Review(
        uid=request["uid"], operation=str(request.get("operation", "")), found=request.get("object") or {},
        old=old if isinstance(old, Mapping) and old else None, dry_run=bool(request.get("dryRun")),
        author=str((request.get("userInfo") or {}).get("username", "")),
    )  # fmt: skip


def asked(review: Review) -> Asked:
    """What the person wants, read from the object. Raises ManifestError."""
    manifest = as_written(review.found, review.old)
    return Asked(service=service_of(manifest, review.where), manifest=manifest)


def service_of(manifest: Object, where: str) -> Service:
    """The service in a manifest. Raises ManifestError."""
    (node,) = read_objects(json.dumps(manifest, indent=0), where)
    return read_node(node)


def planned(found: Object, wanted: Asked, plan: Plan) -> dict[str, Any]:
    """The object as it is to be stored: what was written, filled in, with a note of what was filled in."""
    rendered = render_inferenceservice(wanted.service, plan)
    added = difference(wanted.manifest, rendered)
    result: dict[str, Any] = copied(found)
    kept = {key: value for key, value in (found["metadata"].get("annotations") or {}).items()
            if key not in bare(found)["metadata"].get("annotations", {})}  # fmt: skip
    annotations = {**rendered["metadata"].get("annotations", {}), **kept}
    annotations.pop(PLANNED, None)
    if added:
        annotations[PLANNED] = note(added, mark_of(wanted.manifest))
    result["metadata"]["annotations"] = annotations
    result["spec"] = rendered["spec"]
    return result


def answer_planned(review: Review, wanted: Asked, plan: Plan) -> dict[str, Any]:
    """Let it through as planned, and say what was planned and what contradicts it."""
    result = planned(review.found, wanted, plan)
    warnings = [*plan_lines(plan), *contradiction_lines(plan)]
    return answer(review, warnings=warnings, operations=patch(review.found, result))


def answer_unplanned(review: Review, error: KserveExtError) -> dict[str, Any]:
    """Refuse what is wrong or infeasible; let through, as written, what cannot be planned for another reason."""
    choice = (review.found["metadata"].get("annotations") or {}).get(INFEASIBLE, "refuse")
    if isinstance(error, ManifestError) or (isinstance(error, InfeasibleError) and choice != "admit"):
        return refusal(review, [error.message, *([error.remedy] if error.remedy else [])])
    return answer(review, warnings=admitted_lines(error))


def refusal(review: Review, lines: Sequence[str]) -> dict[str, Any]:
    """Do not store it."""
    status = {"code": _REFUSED, "reason": "Invalid", "message": "\n".join(lines)}
    return _response(review, {"allowed": False, "status": status})


def answer(
    review: Review, *, warnings: Sequence[str] = (), operations: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Let it through."""
    response: dict[str, Any] = {"allowed": True}
    if warnings:
        response["warnings"] = [one_line(text) for text in warnings[:_MOST_WARNINGS]]
    if operations:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(operations).encode()).decode()
    return _response(review, response)


def _response(review: Review, response: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": review.uid, **response},
    }


def mark_of(manifest: Object) -> str:
    """What tells one set of our annotations from another. Not of what is read from them, which may change with a release."""
    asked = {key: text for key, text in manifest["metadata"]["annotations"].items() if is_intent(key)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]


def is_intent(key: str) -> bool:
    """Whether an annotation asks for a plan."""
    return key.startswith(PREFIX) and key not in NOT_INTENT


def _told(found: Object) -> Any:
    """What a person decides of an object."""
    metadata = {key: value for key, value in (found.get("metadata") or {}).items() if key not in _NOT_COMPARED}
    return metadata, found.get("spec")
