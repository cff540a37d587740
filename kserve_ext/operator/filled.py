"""Which fields of an InferenceService admission has filled in, and the manifest without them. Pure.

What was filled in is told from what a person wrote by one annotation: JSON pointers, `,` between them. An entry of a
list is named by its key (`/args/--model-config-name`), and a value that was replaced is kept (`/runtime=kserve-ext-triton`).
With it is a mark of what was asked for (`from=1f2e3d4c`): a service whose annotations were edited while no webhook was
there is planned anew by that. It changes only together with fields or annotations that make a new Revision anyway.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from kserve_ext.intent.annotations import PLANNED
from kserve_ext.intent.document import join

Object = Mapping[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KEPT_METADATA = ("name", "namespace", "labels", "annotations")
_NAMED_LISTS = ("args", "env")  # whose entries have a key of their own
_MISSING = object()
_FROM = "from="


def bare(found: Object) -> dict[str, Any]:
    """An object as a manifest: without what the API server and kubectl add to it."""
    metadata = {key: copied(found["metadata"][key]) for key in _KEPT_METADATA if found.get("metadata", {}).get(key)}
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        annotations.pop(LAST_APPLIED, None)
        annotations.pop(PLANNED, None)
    return {"apiVersion": found.get("apiVersion"), "kind": found.get("kind"), "metadata": metadata,
            "spec": _one_spelling(copied(found.get("spec") or {}))}  # fmt: skip


def as_written(found: Object, old: Object | None = None) -> dict[str, Any]:
    """The manifest without what admission filled in. A filled-in field that differs from `old` is the person's own now,
    and so is one that the manifest of the last `kubectl apply` has.
    """
    manifest = bare(found)
    applied = _last_applied(found)
    before = bare(old) if old is not None else None
    for entry in planned_entries(found):
        pointer, changed, original = entry.partition("=")
        keys = _keys(pointer)
        if before is not None and _at(before, keys) != _at(manifest, keys):
            continue
        if not changed and _at(applied, keys) is not _MISSING:
            continue
        _restore(manifest, keys, json.loads(unquote(original)) if changed else _MISSING)
    return manifest


def planned_entries(found: Object) -> tuple[str, ...]:
    """The entries of the annotation."""
    return tuple(entry for entry in _noted(found) if entry.startswith("/"))


def planned_from(found: Object) -> str:
    """The mark of what was asked for when it was planned; empty where that is not noted."""
    return next((entry.removeprefix(_FROM) for entry in _noted(found) if entry.startswith(_FROM)), "")


def note(added: str, mark: str) -> str:
    """The annotation's text: what was filled in, and the mark of what was asked for."""
    return f"{added},{_FROM}{mark}"


def difference(before: Object, after: Object) -> str:
    """The annotation's text: every leaf of `after` that `before` does not have, or has with another value."""
    return ",".join(_added(before, after, ()))


def copied(value: Any) -> Any:
    """A deep copy in dicts and lists."""
    if isinstance(value, Mapping):
        return {key: copied(inner) for key, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, list | tuple) else value


def field_of(entry: str) -> str:
    """An entry as a field path for people: `/spec/predictor/timeout` → `spec.predictor.timeout`."""
    path = ""
    for key in _keys(entry.partition("=")[0]):
        path = join(path, key)
    return path


def patch(before: Object, after: Object, at: str = "") -> list[dict[str, Any]]:
    """The JSON patch from one object to another. Lists are replaced whole."""
    operations: list[dict[str, Any]] = []
    for key in before:
        if key not in after:
            operations.append({"op": "remove", "path": f"{at}/{_escaped(key)}"})
    for key, value in after.items():
        path = f"{at}/{_escaped(key)}"
        if key not in before:
            operations.append({"op": "add", "path": path, "value": value})
        elif isinstance(value, Mapping) and isinstance(before[key], Mapping):
            operations += patch(before[key], value, path)
        elif before[key] != value:
            operations.append({"op": "replace", "path": path, "value": value})
    return operations


def _noted(found: Object) -> list[str]:
    text = (found.get("metadata", {}).get("annotations") or {}).get(PLANNED)
    return text.split(",") if isinstance(text, str) and text else []


def _one_spelling(spec: dict[str, Any]) -> dict[str, Any]:
    """`triton:` as KServe itself rewrites it, so that a field has one path in either order of webhooks."""
    predictor = spec.get("predictor")
    if isinstance(predictor, dict) and isinstance(predictor.get("triton"), dict):
        predictor["model"] = {"modelFormat": {"name": "triton"}} | predictor.pop("triton")
    return spec


def _added(before: Any, after: Any, keys: tuple[str, ...]) -> Iterator[str]:
    if isinstance(after, Mapping):
        for key, value in after.items():
            known = before.get(key, _MISSING) if isinstance(before, Mapping) else _MISSING
            yield from _added(known, value, (*keys, key))
    elif keys and keys[-1] in _NAMED_LISTS and isinstance(after, list):
        for entry in after:
            if before is _MISSING or entry not in before:
                yield _pointer((*keys, _name(entry)))
    elif before is _MISSING or before is None:
        yield _pointer(keys)
    elif before != after:
        yield f"{_pointer(keys)}={quote(json.dumps(before))}"


def _restore(manifest: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    """Put the value back, or take the field out; a mapping or list that it leaves empty goes as well."""
    parents: list[Any] = [manifest]
    for key in keys[:-1]:
        inner = parents[-1].get(key) if isinstance(parents[-1], dict) else None
        if inner is None:
            return
        parents.append(inner)
    last = parents[-1]
    if isinstance(last, list):
        last[:] = [entry for entry in last if _name(entry) != keys[-1]]
    elif not isinstance(last, dict) or keys[-1] not in last:
        return
    elif value is not _MISSING:
        last[keys[-1]] = value
    else:
        del last[keys[-1]]
    for parent, key in reversed(list(zip(parents, keys, strict=False))):
        if isinstance(parent, dict) and parent.get(key) in ({}, []):
            del parent[key]


def _at(found: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if isinstance(found, list):
            found = next((entry for entry in found if _name(entry) == key), _MISSING)
        else:
            found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
    return found


def _last_applied(found: Object) -> Any:
    text = (found.get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        return bare(json.loads(text)) if isinstance(text, str) else _MISSING
    except (ValueError, AttributeError, KeyError, TypeError):
        return _MISSING


def _name(entry: Any) -> str:
    """What an entry of a list is known by: the name of a variable, an argument up to its `=`."""
    return str(entry.get("name")) if isinstance(entry, Mapping) else str(entry).partition("=")[0]


def _pointer(keys: tuple[str, ...]) -> str:
    return quote("".join(f"/{_escaped(key)}" for key in keys), safe="/~")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _keys(pointer: str) -> tuple[str, ...]:
    return tuple(unquote(key).replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:])
