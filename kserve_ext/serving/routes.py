"""Which paths the fast lane answers itself. Text in, route out."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple


class Kind(Enum):
    """What is asked for; all else is KServe's."""

    INFER = auto()
    PREDICT_V1 = auto()
    READY = auto()
    MODEL_READY = auto()
    METADATA = auto()
    STATS = auto()
    INDEX = auto()
    METRICS = auto()


class Route(NamedTuple):
    """A path taken apart."""

    kind: Kind
    model: str = ""
    version: str | None = None


_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(infer|ready|stats))?")
_V1 = re.compile(r"/v1/models/([^/:]+):predict")
_ENDINGS = {"infer": Kind.INFER, "ready": Kind.MODEL_READY, "stats": Kind.STATS, None: Kind.METADATA}
_FIXED = {
    ("GET", "/v2/health/ready"): Route(Kind.READY),
    ("POST", "/v2/repository/index"): Route(Kind.INDEX),
    ("GET", "/metrics"): Route(Kind.METRICS),
}


@lru_cache(maxsize=1024)  # a client asks for the same few paths over and over
def route(method: str, path: str) -> Route | None:
    """The route, or None where KServe answers."""
    if (fixed := _FIXED.get((method, path))) is not None:
        return fixed
    if method == "POST" and (match := _V1.fullmatch(path)):
        return Route(Kind.PREDICT_V1, match[1])
    if not (match := _MODEL.fullmatch(path)):
        return None
    kind = _ENDINGS[match[3]]
    if (method == "POST") != (kind is Kind.INFER) or method not in ("GET", "POST"):
        return None
    return Route(kind, match[1], match[2])
