"""What the protocols need to know of a model: its engine, its versions and the hooks for its own payloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

from kserve_ext.serving.engine import Engine
from kserve_ext.serving.execution import Array
from kserve_ext.serving.faults import UnknownModel

_PREFIX = uuid4().hex[:12]
_NUMBERS = count(1)


def new_id() -> str:
    """An id no other request of any process has; a tenth of the cost of a uuid for each."""
    return f"{_PREFIX}-{next(_NUMBERS):x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One model as the protocols see it."""

    name: str
    version: str
    engine: Engine
    decode: Callable[[Any], Mapping[str, Array]] | None = None
    encode: Callable[[Mapping[str, Array]], Any] | None = None
    explains: bool = False
    observe: Callable[[float, Mapping[str, str] | None], None] = lambda *_: (
        None
    )  # KServe's own histogram, with exemplars

    def check_version(self, version: str | None) -> None:
        """Raises UnknownModel for a version that is not served."""
        if version and version != self.version:
            raise UnknownModel(f"model {self.name} has version {self.version}, not {version}")


Find = Callable[[str], Served | None]
