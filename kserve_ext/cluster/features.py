"""Which fields a cluster's CRDs have: features are told by schema, never by version. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from kserve_ext.cluster.objects import Object, Ref, dig, ref_of
from kserve_ext.errors import Problem
from kserve_ext.intent.document import join

Schema = Mapping[str, Any]
_REF = "#/components/schemas/"


def schema_of(openapi: Mapping[str, Any], ref: Ref) -> Schema | None:
    """The schema of a kind in an OpenAPI v3 document of its group and version; None where it has none."""
    group, _, version = ref.api_version.rpartition("/")
    wanted = {"group": group, "kind": ref.kind, "version": version}
    for schema in (dig(openapi, "components", "schemas") or {}).values():
        if wanted in (schema.get("x-kubernetes-group-version-kind") or ()):
            return dict(schema)
    return None


def unknown_fields(found: Object, schema: Schema, openapi: Mapping[str, Any]) -> tuple[Problem, ...]:
    """The fields of an object that the cluster's schema does not have, with the nearest that it has."""
    metadata = {key: value for key, value in found.items() if key not in ("metadata", "status")}
    return tuple(_unknown(metadata, schema, openapi, "", str(ref_of(found))))


def has_field(schema: Schema, openapi: Mapping[str, Any], *path: str) -> bool:
    """Whether a schema has a field."""
    here: Schema = schema
    for key in path:
        here = _resolved(here, openapi)
        if "items" in here:
            here = _resolved(here["items"], openapi)
        if key not in (here.get("properties") or {}):
            return False
        here = here["properties"][key]
    return True


def _unknown(value: Any, schema: Schema, openapi: Mapping[str, Any], path: str, what: str) -> Iterator[Problem]:
    schema = _resolved(schema, openapi)
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _unknown(entry, schema.get("items") or {}, openapi, f"{path}[{index}]", what)
        return
    if not isinstance(value, Mapping) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    known, others = schema.get("properties"), schema.get("additionalProperties")
    for key, inner in value.items():
        if known and key in known:
            yield from _unknown(inner, known[key], openapi, join(path, key), what)
        elif isinstance(others, Mapping):
            yield from _unknown(inner, others, openapi, join(path, key), what)
        elif known and not others:
            near = difflib.get_close_matches(key, known, n=1)
            yield Problem(
                file=what, field=join(path, key), what="a field that this cluster's CRD does not have",
                allowed=f"the nearest it has is {near[0]}" if near else "",
            )  # fmt: skip


def _resolved(schema: Schema, openapi: Mapping[str, Any]) -> Schema:
    """The schema itself, where it is a reference to another or wraps one."""
    for wrapped in schema.get("allOf") or ():
        if "$ref" in wrapped:
            schema = {**wrapped, **{key: value for key, value in schema.items() if key != "allOf"}}
    target = schema.get("$ref")
    if not isinstance(target, str) or not target.startswith(_REF):
        return schema
    return dict((dig(openapi, "components", "schemas") or {}).get(target.removeprefix(_REF), {}))
