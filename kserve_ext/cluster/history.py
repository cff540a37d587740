"""What was applied before: each applied bundle as a ConfigMap, and which one to go back to. Pure.

A ConfigMap, because the rights that people have on a namespace (the ClusterRole `edit`) hold it and not ControllerRevisions,
and because `kubectl get configmap -o yaml` shows it. Owned by its InferenceService, so that it goes when that goes. Not an
annotation of the service: each change of one is a new Revision. Good is what became ready after it was applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_ext.cluster.objects import Object, dig, read_manifests
from kserve_ext.render.text import to_yaml

LABEL = "kserve-ext.dev/history-of"
OUTCOME = "kserve-ext.dev/outcome"
NUMBER = "kserve-ext.dev/number"
DIGEST = "kserve-ext.dev/digest"
APPLIED_AT = "kserve-ext.dev/applied-at"
KEPT = 10  # as many as a Deployment keeps ReplicaSets

APPLIED, GOOD, FAILED = "applied", "good", "failed"
_DIGEST_LENGTH = 16
_DATA = "objects.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One applied bundle."""

    number: int
    outcome: str  # applied, good, failed
    digest: str
    applied_at: str
    objects: tuple[Object, ...]
    name: str  # of its ConfigMap

    @property
    def good(self) -> bool:
        return self.outcome == GOOD


def digest_of(objects: Iterable[Object]) -> str:
    """A short name of what a set of objects says."""
    text = "---\n".join(to_yaml(found) for found in objects)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def read_history(config_maps: Iterable[Object]) -> tuple[Entry, ...]:
    """The entries, the oldest first. One that someone has made unreadable is left out."""
    found = []
    for each in config_maps:
        labels, text = dig(each, "metadata", "labels") or {}, dig(each, "data", _DATA)
        number = str(labels.get(NUMBER, ""))
        if not number.isdecimal() or not isinstance(text, str):
            continue
        name = str(each["metadata"]["name"])
        found.append(
            Entry(
                number=int(number), outcome=str(labels.get(OUTCOME, APPLIED)), digest=str(labels.get(DIGEST, "")), name=name,
                applied_at=str(dig(each, "metadata", "annotations", APPLIED_AT) or ""), objects=read_manifests([(name, text)]),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda entry: entry.number))


def next_entry(history: Sequence[Entry], objects: Sequence[Object], *, service: str, applied_at: str) -> Entry:
    """The entry for what is about to be applied: the newest one again when it says the same."""
    digest = digest_of(objects)
    if history and history[-1].digest == digest:
        return history[-1]
    number = history[-1].number + 1 if history else 1
    return Entry(
        number=number, outcome=APPLIED, digest=digest, applied_at=applied_at, objects=tuple(objects),
        name=f"{service}-bundle-{number}",
    )  # fmt: skip


def config_map(entry: Entry, service: Object) -> dict[str, Any]:
    """The ConfigMap of an entry, owned by the live InferenceService."""
    metadata = service["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": entry.name,
            "namespace": metadata["namespace"],
            "labels": {
                LABEL: metadata["name"], NUMBER: str(entry.number), OUTCOME: entry.outcome, DIGEST: entry.digest,
            },
            "annotations": {APPLIED_AT: entry.applied_at},
            "ownerReferences": [
                {"apiVersion": service["apiVersion"], "kind": service["kind"], "name": metadata["name"], "uid": metadata["uid"]}
            ],
        },
        "data": {_DATA: "---\n".join(to_yaml(found) for found in entry.objects)},
    }  # fmt: skip


def surplus(history: Sequence[Entry]) -> tuple[Entry, ...]:
    """Entries beyond those kept; the newest good one is never among them."""
    good = next((entry for entry in reversed(history) if entry.good), None)
    return tuple(entry for entry in history[:-KEPT] if entry is not good)


def to_go_back_to(history: Sequence[Entry]) -> Entry | None:
    """The newest good entry before the newest entry, and other than it; None where there is none."""
    if not history:
        return None
    now = history[-1]
    return next((entry for entry in reversed(history[:-1]) if entry.good and entry.digest != now.digest), None)
