"""What was seen of a service, older things counting less: executions by model and batch, late requests, start-ups. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

HALF_LIFE_S = 1800.0
_LATELY_HALF_LIFE_S = 300.0  # of what tells an incident
_MOST_STARTS = 8


@dataclass(frozen=True, slots=True)
class Executions:
    """Executions of one model with one batch size: how many, and their time in total."""

    count: float
    seconds: float

    def __add__(self, other: Executions) -> Executions:
        return Executions(self.count + other.count, self.seconds + other.seconds)

    def __mul__(self, factor: float) -> Executions:
        return Executions(self.count * factor, self.seconds * factor)


Batches = Mapping[int, Executions]  # by rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen in the last `seconds`. `starts_s` are start-ups of replicas by their names, from wanted to ready."""

    seconds: float
    requests: float = 0.0
    late: float | None = None  # None: not known
    batches: Mapping[str, Batches] = field(default_factory=dict)  # by model
    starts_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything seen, discounted. A look that knows no late requests adds none, and no requests to hold them against."""

    seconds: float = 0.0
    requests: float = 0.0  # of which is known how many were late
    late: float = 0.0
    requests_lately: float = 0.0
    late_lately: float = 0.0
    batches: Mapping[str, Batches] = field(default_factory=dict)
    starts_s: tuple[tuple[str, float], ...] = ()  # the last ones

    @property
    def late_share(self) -> float:
        """Share of the requests that were late."""
        return self.late / self.requests if self.requests else 0.0

    @property
    def late_share_lately(self) -> float:
        """The same of the last minutes."""
        return self.late_lately / self.requests_lately if self.requests_lately else 0.0


def seen(evidence: Evidence, look: Look) -> Evidence:
    """The evidence with one more look."""
    before = aged(evidence, look.seconds)
    requests, late = (look.requests, look.late) if look.late is not None else (0.0, 0.0)
    known = dict(before.starts_s)
    starts_s = (*before.starts_s, *((name, took) for name, took in look.starts_s.items() if name not in known))
    return replace(
        before, seconds=before.seconds + look.seconds,
        requests=before.requests + requests, late=before.late + late,
        requests_lately=before.requests_lately + requests, late_lately=before.late_lately + late,
        batches={
            model: _summed(before.batches.get(model, {}), look.batches.get(model, {}))
            for model in (*before.batches, *(model for model in look.batches if model not in before.batches))
        },
        starts_s=starts_s[-_MOST_STARTS:],
    )  # fmt: skip


def aged(evidence: Evidence, seconds: float) -> Evidence:
    """The evidence after so long without a look: what was seen counts less, and nothing is added."""
    kept, lately = 0.5 ** (seconds / HALF_LIFE_S), 0.5 ** (seconds / _LATELY_HALF_LIFE_S)
    return replace(
        evidence, seconds=kept * evidence.seconds, requests=kept * evidence.requests, late=kept * evidence.late,
        requests_lately=lately * evidence.requests_lately, late_lately=lately * evidence.late_lately,
        batches={
            model: {rows: one * kept for rows, one in batches.items()} for model, batches in evidence.batches.items()
        },
    )  # fmt: skip


def _summed(before: Batches, after: Batches) -> Batches:
    none = Executions(0.0, 0.0)
    return {rows: before.get(rows, none) + after.get(rows, none) for rows in sorted({*before, *after})}
