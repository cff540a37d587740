"""Durations, rates and Kubernetes quantities: text at the border, seconds and plain numbers inside.

Parsing raises ValueError whose message says what is allowed; callers add where the text stood.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|s|m|h)")
_DURATION_UNIT_S = {
    "us": Decimal("1e-6"), "µs": Decimal("1e-6"), "ms": Decimal("1e-3"),
    "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600),
}  # fmt: skip
DURATION_ALLOWED = "a number with a unit: 500us, 80ms, 1.5s, 2m, 1h, or a sum such as 1m30s"

_LARGEST_IN_THREE_DIGITS = 999.5  # from here on three digits would be written 1e+03

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(rps|rpm)?")
RATE_ALLOWED = "40rps, 600rpm, or a range such as 20..400rps"

_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_QUANTITY_UNIT = {
    None: Decimal(1), "m": Decimal("1e-3"), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "P": Decimal(10**15), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip
QUANTITY_ALLOWED = "a Kubernetes quantity: 2, 500m, 1.5, 512Mi, 4Gi"


def parse_duration_s(text: str) -> float:
    """Seconds in a duration such as `80ms` or `1m30s`. Raises ValueError for anything else, zero included."""
    position, total = 0, Decimal(0)
    while position < len(text):
        match = _DURATION.match(text, position)
        if match is None:
            raise ValueError(DURATION_ALLOWED)
        total += Decimal(match[1]) * _DURATION_UNIT_S[match[2]]
        position = match.end()
    if not 0 < (seconds := float(total)) < math.inf:
        raise ValueError(f"a duration above zero; {DURATION_ALLOWED}")
    return seconds


def format_duration(seconds: float) -> str:
    """A short human form with three significant digits, and whole seconds from 1000 s: 0.0123 -> `12.3ms`."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    seconds = float(f"{seconds:.3g}") if seconds < 1 else seconds  # 0.9999 is a second, not 1e+03 ms
    unit, size = next(((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if seconds >= size), ("us", 1e-6))
    value = seconds / size
    return (f"{value:.0f}" if value >= _LARGEST_IN_THREE_DIGITS else f"{value:.3g}") + unit


def parse_rate_rps(text: str) -> tuple[float, float]:
    """Lowest and highest request rate in `40rps` or `20..400rps`, in requests per second. Raises ValueError."""
    low_text, dots, high_text = text.strip().partition("..")
    high = _one_rate(high_text if dots else low_text)
    if not dots:
        return high[0], high[0]
    low = _one_rate(low_text)
    if low[1] and low[1] != high[1]:
        raise ValueError(f"one unit for both ends; {RATE_ALLOWED}")
    low_rps = low[0] if low[1] else low[0] * (1 / 60 if high[1] == "rpm" else 1.0)
    if low_rps > high[0]:
        raise ValueError(f"the lower rate first; {RATE_ALLOWED}")
    return low_rps, high[0]


def _one_rate(text: str) -> tuple[float, str | None]:
    match = _RATE.fullmatch(text.strip())
    if match is None or not 0 < (value := float(match[1])) < math.inf:
        raise ValueError(f"a rate above zero; {RATE_ALLOWED}")
    return value / (60 if match[2] == "rpm" else 1), match[2]


def parse_quantity(text: str | int | float) -> float:
    """A Kubernetes quantity as a plain number: `500m` -> 0.5, `2Gi` -> 2147483648. Raises ValueError."""
    match = _QUANTITY.fullmatch(str(text))
    try:
        value = float(Decimal(match[1]) * _QUANTITY_UNIT[match[2]]) if match else math.inf
    except ArithmeticError:  # an exponent beyond what Decimal holds
        value = math.inf
    if math.isinf(value):
        raise ValueError(QUANTITY_ALLOWED)
    return value


def format_cpu(cores: float) -> str:
    """CPU cores as a Kubernetes quantity, rounded up to a millicore: 1.5 -> `1500m`, 2.0 -> `2`."""
    millicores = math.ceil(Decimal(repr(cores)) * 1000)
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def format_mebibytes(size_bytes: float) -> str:
    """Bytes as a Kubernetes quantity in whole Mi, rounded up: 1.5 GiB -> `1536Mi`."""
    return f"{math.ceil(size_bytes / 2**20)}Mi"
