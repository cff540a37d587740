"""What an apply would change, field by field and in words. Pure.

In: an object as it is and as it would be. Out: an ObjectDiff. Fields that the API server itself keeps are no difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kserve_ext.cluster.objects import SERVICE, Object, Ref, dig
from kserve_ext.intent.document import join

_SERVER_KEEPS = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LIST_KEYS = ("name", "containerPort", "mountPath", "key")  # what tells the entries of a list apart
_SHOWN_WIDTH = 60


class Action(StrEnum):
    """What happens to an object."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field: a value that is absent before or after is None."""

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.field}: {shown(self.after)}"
        if self.after is None:
            return f"- {self.field}: {shown(self.before)}"
        if isinstance(self.before, str) and isinstance(self.after, str) and "\n" in self.before + self.after:
            return f"~ {self.field}: {_lines_changed(self.before, self.after)}"
        return f"~ {self.field}: {shown(self.before)} → {shown(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDiff:
    """What happens to one object, the fields that change, and what follows for what runs."""

    ref: Ref
    action: Action
    changes: tuple[Change, ...] = ()
    effect: str = ""


def compare(ref: Ref, before: Object | None, after: Object | None, *, effect: str = "") -> ObjectDiff:
    """The difference between an object as it is and as it would be; None is one that is not there.

    `effect` is what follows from a deletion; that of a change is told from its fields.
    """
    if before is None and after is None:
        return ObjectDiff(ref=ref, action=Action.SAME)
    changes = tuple(_changes(_own(before), _own(after), ""))
    if before is None:
        return ObjectDiff(ref=ref, action=Action.CREATE, changes=changes)
    if after is None:
        return ObjectDiff(ref=ref, action=Action.DELETE, changes=changes, effect=effect)
    action = Action.CHANGE if changes else Action.SAME
    return ObjectDiff(ref=ref, action=action, changes=changes, effect=_effect(ref, after, changes))


def overlay(live: Any, wanted: Any) -> Any:
    """`live` with the fields of `wanted` over it: what an apply makes of it, as far as a client alone can tell.

    Fields that an earlier apply of ours set and `wanted` no longer has stay; only the server knows those.
    """
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        return {**live, **{key: overlay(live.get(key), value) for key, value in wanted.items()}}
    if isinstance(live, list) and isinstance(wanted, list) and (key := _list_key(live, wanted)):
        by_key = {entry[key]: entry for entry in live}
        merged = {entry[key]: overlay(by_key.get(entry[key]), entry) for entry in wanted}
        return [*({**by_key, **merged}).values()]
    return wanted


def shown(value: Any) -> str:
    """A value on one line, cut when long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.replace("\n", "⏎")
    return text if len(text) <= _SHOWN_WIDTH else text[:_SHOWN_WIDTH] + "…"


def _own(found: Object | None) -> dict[str, Any]:
    """The object without what the server keeps."""
    if found is None:
        return {}
    metadata = {key: value for key, value in found.get("metadata", {}).items() if key not in _SERVER_KEEPS}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _LAST_APPLIED}
    metadata = {key: value for key, value in metadata.items() if key != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    rest = {key: value for key, value in found.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    return {"metadata": {key: value for key, value in metadata.items() if key not in ("name", "namespace")}, **rest}


def _changes(before: Any, after: Any, path: str) -> Iterator[Change]:
    if before == after or (before in (None, {}, []) and after in (None, {}, [])):
        return
    if isinstance(before or {}, Mapping) and isinstance(after or {}, Mapping):
        for key in dict.fromkeys([*(before or {}), *(after or {})]):
            yield from _changes((before or {}).get(key), (after or {}).get(key), join(path, str(key)))
        return
    if (
        isinstance(before or [], list)
        and isinstance(after or [], list)
        and (key := _list_key(before or [], after or []))
    ):
        old, new = ({entry[key]: entry for entry in entries or []} for entries in (before, after))
        for name in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(name), new.get(name), f"{path}[{name}]")
        return
    yield Change(field=path, before=before, after=after)


def _list_key(*lists: list[Any]) -> str | None:
    """The field that tells the entries of both lists apart, if there is one."""
    entries = [entry for each in lists for entry in each]
    if not entries or not all(isinstance(entry, Mapping) for entry in entries):
        return None
    for key in _LIST_KEYS:
        if all(key in entry for entry in entries) and all(
            len({one[key] for one in each}) == len(each) for each in lists
        ):
            return key
    return None


def _lines_changed(before: str, after: str) -> str:
    import difflib

    lines = [line for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
             if not line.startswith(("---", "+++", "@@"))]  # fmt: skip
    return f"{len(lines)} lines differ\n" + "\n".join(f"      {line}" for line in lines)


def _effect(ref: Ref, after: Object, changes: tuple[Change, ...]) -> str:
    """What follows for what runs, from which fields change."""
    if ref.kind in ("ServingRuntime", "ClusterServingRuntime") and changes:
        return "every InferenceService that names this runtime rolls out anew"
    if ref.kind != SERVICE or not changes:
        return ""
    mode = dig(after, "metadata", "annotations", "serving.kserve.io/deploymentMode") or dig(
        after, "status", "deploymentMode"
    )
    fields = [change.field for change in changes]
    if all(field.startswith("spec.predictor.canaryTrafficPercent") for field in fields):
        return "traffic is split anew; no pod restarts"
    if mode in ("Standard", "RawDeployment"):
        template = [
            field for field in fields if field not in ("spec.predictor.minReplicas", "spec.predictor.maxReplicas")
        ]
        return "pods are replaced, by the deployment strategy" if template else "only the number of replicas changes"
    return "a new Revision: its replicas start beside the old ones, traffic moves when they are ready"
