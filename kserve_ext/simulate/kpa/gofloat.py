"""Float arithmetic as Go does it on amd64, where Python's differs in a bit, an exception or a rounding.

Numbers in, numbers out. Knative's decisions are ceilings of quotients, so one unit in the last place can be one pod.
"""

from __future__ import annotations

import math

_INT32_MIN = -(2**31)
_NS_PER_S = 1_000_000_000
_NO_FRACTION = 2.0**52  # from here on every float is a whole number


def nanoseconds(t_s: float) -> int:
    """A time as Go programs make it from seconds: time.Duration(t * float64(time.Second)), cut off, not rounded."""
    return t_s * _NS_PER_S if isinstance(t_s, int) else int(t_s * 1e9)


def to_nanosecond(span_s: float) -> float:
    """A length of time as a time.Duration holds it: 7.000000000000001 s, which is 0.07 * 100, is 7 s."""
    return nanoseconds(span_s) / _NS_PER_S


def whole_second(t_s: float) -> int:
    """The 1 s bucket a time falls in; -0.5 s belongs to second -1, since Go's epoch lies long before."""
    return t_s if isinstance(t_s, int) else int(t_s * 1e9) // _NS_PER_S


def int32(x: float) -> int:
    """int32(x): cut towards zero; what does not fit (also NaN and infinities) becomes the smallest int32."""
    return int(x) if _INT32_MIN - 1 < x < -_INT32_MIN else _INT32_MIN


def ceil(x: float) -> float:
    """math.Ceil: NaN and infinities stay what they are."""
    return math.ceil(x) if math.isfinite(x) else x


def floor(x: float) -> float:
    """math.Floor: NaN and infinities stay what they are."""
    return math.floor(x) if math.isfinite(x) else x


def clamp(x: float, low: float, high: float) -> float:
    """math.Min(math.Max(x, low), high): the upper limit wins over the lower, NaN stays NaN."""
    if x < low:
        x = low
    return high if x > high else x


def round_digits(digits: int, x: float) -> float:
    """x to that many decimals, halves away from zero (Python's round goes to even: 0.0000005 would become 0)."""
    scale = 10.0**digits
    scaled = x * scale
    if not -_NO_FRACTION < scaled < _NO_FRACTION:  # also NaN and infinities
        return scaled / scale
    whole = round(scaled)
    rest = scaled - whole
    if rest == 0.5 and scaled > 0:
        whole += 1
    elif rest == -0.5 and scaled < 0:
        whole -= 1
    return whole / scale


def power(x: float, exponent: int) -> float:
    """math.Pow for 0 < x and a whole exponent >= 0: by squaring of the mantissa, so not libm's last bit."""
    result, result_exp = 1.0, 0
    square, square_exp = math.frexp(x)
    while exponent:
        if abs(square_exp) > 4096:
            result_exp += square_exp
            break
        if exponent & 1:
            result *= square
            result_exp += square_exp
        square *= square
        square_exp *= 2
        if square < 0.5:
            square += square
            square_exp -= 1
        exponent >>= 1
    return math.ldexp(result, result_exp)
