"""Numbers as a reader wants them: three significant digits, a unit, a sign or a × where that says more.

Numbers in, text out. A value that does not exist is a dash, one without bound says so; nothing is clamped.
"""

from __future__ import annotations

import math
import re

from kserve_ext.units import format_duration

NONE = "–"
NARROW_SPACE = "\u202f"  # no-break, between a number and its unit
_NUMBER_UNIT = re.compile(r"(?<=\d)(?=[a-zµ%])")
_UNIT_SUFFIX = re.compile(r"_(s|rps|bytes|percent)$")


def duration(seconds: float) -> str:
    """0.0318 -> `31.8 ms`; infinite -> `unbounded`."""
    if not math.isfinite(seconds):
        return "unbounded" if seconds > 0 else NONE
    if seconds == 0:
        return "0"
    rounded = float(f"{seconds:.3g}")  # first, so that 999.9 ms is 1 s
    if rounded >= 1000:
        return f"{rounded:,.0f}{NARROW_SPACE}s"
    return _NUMBER_UNIT.sub(NARROW_SPACE, format_duration(rounded).replace("us", "µs"), count=1)


def number(value: float) -> str:
    """Three significant digits, thousands apart: 4.2, 412, 12,300."""
    if not math.isfinite(value):
        return "unbounded" if value > 0 else NONE
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == int(value):
        return str(int(value))
    return f"{value:.3g}"


def rate(rps: float) -> str:
    """Requests per second: `412/s`."""
    return f"{number(rps)}/s" if math.isfinite(rps) else number(rps)


def percent(share: float) -> str:
    """A share as a percentage; 0.99953 keeps the digits that matter: `99.95 %`."""
    if not math.isfinite(share):
        return NONE
    digits = 2 if 0.99 < abs(share) < 1 else 1 if abs(share) < 0.995 else 0
    text = f"{100 * share:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + f"{NARROW_SPACE}%"


def change(value: float, reference: float) -> str:
    """How far `value` is from `reference`: `+2.1 %`; empty where that has no meaning."""
    if not (math.isfinite(value) and math.isfinite(reference)) or reference <= 0:
        return ""
    percents = 100 * (value / reference - 1)
    return f"{percents:+.{0 if abs(percents) >= 100 else 1}f}".replace("-", "−") + f"{NARROW_SPACE}%"


def times(value: float, reference: float) -> str:
    """`value` as a multiple of `reference`: `75×`; empty where that has no meaning."""
    if not (math.isfinite(value) and math.isfinite(reference)) or value <= 0 or reference <= 0:
        return ""
    ratio = value / reference
    return f"{ratio:,.0f}×" if ratio >= 10 else f"{ratio:.1f}×" if ratio >= 1 else f"{ratio:.2g}×"


def memory(size_bytes: float) -> str:
    """Bytes as MiB or GiB."""
    if not math.isfinite(size_bytes):
        return NONE
    mebibytes = size_bytes / 2**20
    return f"{mebibytes / 1024:.3g}{NARROW_SPACE}GiB" if mebibytes >= 1024 else f"{number(mebibytes)}{NARROW_SPACE}MiB"


def quantity(name: str, value: float) -> str:
    """`value` with the unit its name ends on: (`p99_s`, 0.08) -> `80 ms`, (`size_bytes`, …) -> MiB."""
    unit = _UNIT_SUFFIX.search(name)
    match unit[1] if unit else "":
        case "s":
            return duration(value)
        case "rps":
            return rate(value)
        case "bytes":
            return memory(value)
        case "percent":
            return f"{number(value)}{NARROW_SPACE}%"
        case _:
            return number(value)


def label(name: str) -> str:
    """A field name without its unit, in words: `slo_p99_s` -> `slo p99`."""
    return _UNIT_SUFFIX.sub("", name).replace("_", " ")


def plural(count: int, noun: str) -> str:
    """`1 instance`, `2 instances`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
