"""Annotations on an InferenceService → domain.Intent. Pure: text in, frozen types out, ManifestError for the rest."""

from __future__ import annotations

from kserve_ext.intent.annotations import ANNOTATIONS, PREFIX, Annotation, annotations_markdown
from kserve_ext.intent.read import read_many, read_services
from kserve_ext.intent.schema import intent_schema, intent_schema_text

__all__ = [
    "ANNOTATIONS", "PREFIX", "Annotation", "annotations_markdown", "intent_schema", "intent_schema_text", "read_many",
    "read_services",
]  # fmt: skip
