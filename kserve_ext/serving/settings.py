"""The plan's numbers for a predictor, read from environment variables: VARIABLES is the one place that lists them.

`Settings.read(environment)` takes a mapping and gives frozen values. Raises InputError with every variable that is wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kserve_ext.errors import InputError, Problem
from kserve_ext.render.environment import seconds_text, variable_name
from kserve_ext.units import DURATION_ALLOWED, QUANTITY_ALLOWED, parse_duration_s, parse_quantity

DEFAULT_QUEUED_BATCHES = 4  # in flight for each instance where no plan says otherwise; 2 already saturate it


class Execution(StrEnum):
    """Where the model runs.

    `auto` measures while warming up: on the event loop when the largest batch takes less than the hop to a thread and
    back is worth, else on threads. `process` is for a model that holds the GIL: one process for each instance.
    """

    AUTO = "auto"
    INLINE = "inline"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one predictor process serves. Seconds and bytes."""

    max_batch_size: int = 32
    max_queue_delay_s: float = 0.0
    instances: int = 1
    threads: int = 1
    concurrency_limit: int = 0
    timeout_s: float = 0.0
    execution: Execution = Execution.AUTO
    max_request_bytes: int = 64 * 2**20
    drain_delay_s: float = 2.0
    grace_period_s: float = 30.0
    stuck_after_s: float = 60.0
    request_log: bool = False

    @property
    def limit(self) -> int:
        """Requests in flight at most; from the batch size where no plan gave a limit."""
        return self.concurrency_limit or DEFAULT_QUEUED_BATCHES * max(1, self.max_batch_size) * self.instances

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The settings in `environment`, defaults for what is absent or empty. Raises InputError."""
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for variable in VARIABLES:
            text = environment.get(variable.name, "").strip()
            if not text:
                continue
            try:
                values[variable.field] = variable.parse(text)
            except ValueError:
                problems.append(
                    Problem(field=variable.name, what="cannot be read", found=text, allowed=variable.allowed)
                )
        if problems:
            raise InputError(*problems)
        return cls(**values)

    def write(self) -> dict[str, str]:
        """The environment that `read` makes these settings from; only what differs from the defaults."""
        defaults = Settings()
        return {
            variable.name: variable.show(getattr(self, variable.field))
            for variable in VARIABLES
            if getattr(self, variable.field) != getattr(defaults, variable.field)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable: the field it sets, how it is read, and what it means."""

    field: str
    meaning: str
    allowed: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str

    @property
    def name(self) -> str:
        return variable_name(self.field)


def _count(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if (number := int(text)) < least:
            raise ValueError(text)
        return number

    return parse


def _duration(text: str) -> float:
    return 0.0 if text in ("0", "0s") else parse_duration_s(text)


def _bytes(text: str) -> int:
    if (size := int(parse_quantity(text))) < 1:
        raise ValueError(text)
    return size


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


_DURATION = {"allowed": f"0, or {DURATION_ALLOWED}", "parse": _duration, "show": seconds_text}

VARIABLES: tuple[Variable, ...] = (
    Variable(
        field="max_batch_size",
        meaning="rows in one execution; 0: the first dimension is not a batch, every request runs alone",
        allowed="0 or more",
        parse=_count(0),
    ),
    Variable(
        field="max_queue_delay_s",
        meaning="how long a batch that is not full waits for more while an instance is free",
        **_DURATION,  # type: ignore[arg-type]
    ),
    Variable(
        field="instances", meaning="copies of the model, each with its own thread", allowed="1..", parse=_count(1)
    ),
    Variable(field="threads", meaning="threads inside one execution", allowed="1 or more", parse=_count(1)),
    Variable(
        field="concurrency_limit",
        meaning="requests in flight in each worker, beyond it 503 or RESOURCE_EXHAUSTED; 0: from batch and instances",
        allowed="0 or more",
        parse=_count(0),
    ),
    Variable(
        field="timeout_s",
        meaning="deadline of a request whose client names none; 0: none",
        **_DURATION,  # type: ignore[arg-type]
    ),
    Variable(
        field="execution",
        meaning="where the model runs",
        allowed=", ".join(Execution),
        parse=Execution,
    ),
    Variable(
        field="max_request_bytes",
        meaning="largest request; beyond it 413, RESOURCE_EXHAUSTED",
        allowed=QUANTITY_ALLOWED,
        parse=_bytes,
    ),
    Variable(
        field="drain_delay_s",
        meaning="from SIGTERM to the first refusal: unready, still serving, while the balancers forget this pod",
        **_DURATION,  # type: ignore[arg-type]
    ),
    Variable(
        field="grace_period_s",
        meaning="from SIGTERM to the end, at most; keep it below the pod's terminationGracePeriodSeconds",
        **_DURATION,  # type: ignore[arg-type]
    ),
    Variable(
        field="stuck_after_s",
        meaning="an execution longer than this makes the server unready; 0: never",
        **_DURATION,  # type: ignore[arg-type]
    ),
    Variable(
        field="request_log",
        meaning="1: one JSON line for each request",
        allowed="0, 1",
        parse=_switch,
        show=lambda on: str(int(on)),
    ),
)

FIELDS = frozenset(field.name for field in dataclasses.fields(Settings))


def describe() -> str:
    """The variables as lines of help."""
    defaults = Settings()
    width = max(len(variable.name) for variable in VARIABLES)
    return "\n".join(
        f"  {variable.name:<{width}}  {variable.meaning} (default {variable.show(getattr(defaults, variable.field))})"
        for variable in VARIABLES
    )
