"""The plan's reasons, grouped by what they decide, each beside the value it explains.

A Plan in, groups of rows out, in a fixed order. Every reason appears; one whose field is unknown goes to the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from kserve_ext.domain import Plan, Reason
from kserve_ext.report import wording

_AREAS = {
    "Batching and instances": ("stages",),
    "Concurrency and time limits": ("concurrency_limit", "timeout_s"),
    "Replicas and autoscaling": ("scaling", "replicas_at_high_rate"),
    "Resources": ("hardware", "resources"),
    "Capacity": ("capacity_rps", "margin", "prediction", "slo"),
}
_OTHER = "Other choices"
_STEP = re.compile(r"\.?(\w+)|\[([^\]]*)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonRow:
    """One line of the table of reasons."""

    field: str
    value: str
    text: str
    code: str
    numbers: tuple[tuple[str, str], ...]  # name in words, value with unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonGroup:
    """The reasons of one area."""

    area: str
    rows: tuple[ReasonRow, ...]


def grouped_reasons(plan: Plan) -> tuple[ReasonGroup, ...]:
    """All reasons of the plan by area, in the plan's order within one; areas without a reason are left out."""
    areas = (*_AREAS, _OTHER)
    rows = {area: tuple(reason_row(plan, r) for r in plan.reasons if _area(r.field) == area) for area in areas}
    return tuple(ReasonGroup(area=area, rows=rows[area]) for area in areas if rows[area])


def reason_row(plan: Plan, reason: Reason) -> ReasonRow:
    """One reason with the value it explains, and in words those of its numbers that are not that value again."""
    value = plan_value(plan, reason.field)
    own = (reason.field.rpartition(".")[2], value)
    found = [(name, wording.quantity(name, number)) for name, number in reason.numbers.items()]
    numbers = tuple((wording.label(name), text) for name, text in found if (name, text) != own)
    return ReasonRow(field=reason.field, value=value, text=reason.text, code=reason.code, numbers=numbers)


def _area(field: str) -> str:
    root = re.split(r"[.\[]", field, maxsplit=1)[0]
    return next((area for area, roots in _AREAS.items() if root in roots), _OTHER)


def plan_value(plan: Plan, path: str) -> str:
    """The value at a path such as `stages[0].max_batch_size`, with its unit; a dash where the plan has none."""
    value: Any = plan
    name = ""
    for match in _STEP.finditer(path):
        name = match[1] or name
        value = _step(value, match[1], match[2])
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in sorted(value.items())) or "none"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return wording.NONE
    if isinstance(value, str):
        return value
    return wording.percent(value) if name == "margin" else wording.quantity(name, value)


def _step(value: Any, name: str | None, key: str | None) -> Any:
    if name is not None:
        known = is_dataclass(value) and name in {field.name for field in fields(value)}
        return getattr(value, name) if known else None
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, tuple) and key is not None and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    return None
