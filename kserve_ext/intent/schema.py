"""A JSON Schema for editors: an InferenceService with our annotations, from the same table that reads them.

Narrow only where we are: other annotations and other fields of the spec stay open. No I/O; the caller writes it.
"""

from __future__ import annotations

import json
from typing import Any

from kserve_ext.intent.annotations import (
    ANNOTATIONS,
    FLOOR,
    INFEASIBLE,
    LINT_IGNORE,
    OPERATOR_CHOICES,
    PLANNED,
    PREFIX,
    REPLAN,
    Annotation,
)
from kserve_ext.intent.autoscaling import SCALE_METRICS
from kserve_ext.intent.objects import API_VERSION, KIND
from kserve_ext.intent.read import NAME_ALLOWED, NAME_PATTERN

_LINT_IGNORE = {
    "type": "string",
    "description": "Accepted findings of `kserve-ext lint`, each with its reason: KX145 woken by a cron job; KX302 one user.",
}
_PLANNED = {
    "type": "string",
    "description": "Fields that the operator filled in at admission; written by it, not by people.",
}
_CHOICES = {
    INFEASIBLE: "What the operator does with a service that no plan holds: refuse it, or admit it as written with a warning.",
    FLOOR: "Whether the operator keeps replicas ready ahead of forecast traffic.",
    REPLAN: "What the operator does where what runs is not as profiled: say so, or plan anew, at most once an hour.",
}
_QUANTITY = {"type": ["string", "integer", "number"]}


def intent_schema() -> dict[str, Any]:
    """The schema, draft 2020-12."""
    metadata = {
        "type": "object",
        "required": ["name", "annotations"],
        "properties": {
            "name": {"type": "string", "pattern": f"^{NAME_PATTERN}$", "description": f"Allowed: {NAME_ALLOWED}."},
            "namespace": {"type": "string"},
            "annotations": _annotations(),
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{KIND} with {PREFIX} annotations",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": KIND},
            "metadata": metadata,
            "spec": {"type": "object", "required": ["predictor"], "properties": {"predictor": _predictor()}},
        },
    }


def intent_schema_text() -> str:
    """The schema as it is kept in a file."""
    return json.dumps(intent_schema(), indent=2, ensure_ascii=False) + "\n"


def _annotations() -> dict[str, Any]:
    others: dict[str, Any] = {LINT_IGNORE: _LINT_IGNORE, PLANNED: _PLANNED}
    for name, allowed in OPERATOR_CHOICES.items():
        others[name] = {"enum": list(allowed), "description": f"{_CHOICES[name]} Default: {allowed[0]}."}
    unknown = {"not": {"pattern": "^" + PREFIX.replace(".", r"\.")}}
    return {
        "type": "object",
        "required": [row.name for row in ANNOTATIONS if row.required],
        "properties": {row.name: _annotation(row) for row in ANNOTATIONS} | others,
        "propertyNames": {"anyOf": [{"enum": [*(row.name for row in ANNOTATIONS), *others]}, unknown]},
        "additionalProperties": {"type": "string"},
    }


def _annotation(row: Annotation) -> dict[str, Any]:
    default = f" Default: {row.default}." if row.default else ""
    return {
        "type": "string",
        "pattern": row.pattern,
        "description": f"{row.doc} Allowed: {row.allowed}.{default}",
        "examples": list(row.examples),
    }


def _predictor() -> dict[str, Any]:
    """The fields that are kept as pins."""
    resources = {
        "type": "object",
        "properties": {kind: {"type": "object", "additionalProperties": _QUANTITY} for kind in ("requests", "limits")},
    }
    served = {"type": "object", "properties": {"storageUri": {"type": "string"}, "resources": resources}}
    return {
        "type": "object",
        "description": "What is set here is kept; the plan says where it contradicts the SLO.",
        "properties": {
            "containerConcurrency": {"type": "integer", "minimum": 0},
            "minReplicas": {"type": "integer", "minimum": 0},
            "maxReplicas": {"type": "integer", "minimum": 0},
            "scaleTarget": {"type": "integer", "minimum": 1},
            "scaleMetric": {"enum": list(SCALE_METRICS)},
            "timeout": {"type": "integer", "minimum": 1},
            "model": served,
            "triton": served,
            "containers": {"type": "array", "items": served},
        },
    }
