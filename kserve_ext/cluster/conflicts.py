"""Who owns the fields that an apply would take: the API server's conflict answer in words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kserve_ext.cluster.difference import shown
from kserve_ext.cluster.objects import Object, Ref, dig, entries
from kserve_ext.errors import ConflictError

FIELD_MANAGER = "kserve-ext"
FORCE = "--force-conflicts"

_MANAGER = re.compile(r'conflicts? with "([^"]+)"')
_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")

# Managers that people meet, and what to do besides taking the fields over.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    ("kubectl-client-side-apply", "`kubectl apply`", "apply with one of the two from now on"),
    ("kubectl-edit", "a person with `kubectl edit`", "carry the edit over into the manifest"),
    ("kubectl-patch", "a person or script with `kubectl patch`", "carry the patch over into the manifest"),
    ("kubectl-annotate", "`kubectl annotate`", "carry the annotation over into the manifest"),
    ("kubectl-scale", "`kubectl scale`", "carry the number over into the manifest"),
    ("OpenAPI-Generator", "a Python program, such as kserve.KServeClient", "leave these fields to one of the two"),
    ("argocd", "Argo CD", "commit the rendered manifest to what it syncs from; it would undo a change made here"),
    (
        "kustomize-controller",
        "Flux",
        "commit the rendered manifest to what it syncs from; it would undo a change made here",
    ),
    ("helm", "Helm", "change the chart's values; the next upgrade would undo a change made here"),
    ("manager", "KServe's own controller", "leave the field out of the manifest; it would be written again"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One field that another manager owns."""

    manager: str
    field: str


def read_conflicts(answer: Mapping[str, Any]) -> tuple[Conflict, ...]:
    """The conflicts in a 409 answer of a server-side apply; none when it says 409 for something else."""
    found = []
    for cause in entries(answer, "details", "causes"):
        match = _MANAGER.search(str(dig(cause, "message") or ""))
        if dig(cause, "reason") == "FieldManagerConflict" and match:
            found.append(Conflict(manager=match[1], field=str(cause.get("field", "")).lstrip(".")))
    return tuple(found)


def conflict_error(ref: Ref, conflicts: tuple[Conflict, ...], live: Object, wanted: Object) -> ConflictError:
    """The error that says who owns what, with which value, and how to take it over."""
    lines = [f"{ref}: {len(conflicts)} field{'s' if len(conflicts) > 1 else ''} belong to another manager"]
    for one in conflicts:
        there, ours = shown(value_at(live, one.field)), shown(value_at(wanted, one.field))
        lines.append(f"{one.field}: {there} by {_who(one.manager)}, {ours} in the manifest")
    remedies = dict.fromkeys(_advice(one.manager) for one in conflicts)
    remedy = "; ".join([*(each for each in remedies if each), f"or take the fields over with {FORCE}"])
    return ConflictError("\n".join(lines), fields={one.field: one.manager for one in conflicts}, remedy=remedy)


def value_at(found: Any, field: str) -> Any:
    """The value at a path as the API server writes it: `.spec.containers[name="a"].image`, `.metadata.annotations.a/b`."""
    position = 0
    while position < len(field) and found is not None:
        rest = field[position:].lstrip(".")
        position = len(field) - len(rest)
        whole = (
            next((key for key in sorted(found, key=len, reverse=True) if _starts(rest, key)), None)
            if isinstance(found, Mapping)
            else None
        )
        if whole is not None:  # a key may itself hold dots
            found, position = found[whole], position + len(whole)
            continue
        match = _STEP.match(rest)
        if match is None:
            return None
        found, position = _step(found, match), position + match.end()
    return found


def _starts(rest: str, key: str) -> bool:
    return rest.startswith(key) and rest[len(key) : len(key) + 1] in ("", ".", "[")


def _step(found: Any, match: re.Match[str]) -> Any:
    if match[2] is None or not isinstance(found, list):
        return None
    wanted = dict(pair.split("=", 1) for pair in match[2].split(",") if "=" in pair)
    for entry in found:
        if isinstance(entry, Mapping) and all(str(entry.get(key)) == value.strip('"') for key, value in wanted.items()):
            return entry
        if not isinstance(entry, Mapping) and match[2] == f'="{entry}"':
            return entry
    return None


def _who(manager: str) -> str:
    return next((f"{manager} ({who})" for name, who, _ in _KNOWN if manager.startswith(name)), manager)


def _advice(manager: str) -> str:
    return next((advice for name, _, advice in _KNOWN if manager.startswith(name)), "")
