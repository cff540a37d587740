"""Averages over a sliding window of 1 s buckets, as pkg/autoscaler/aggregation of Knative Serving 0.48 keeps them.

Values come in with the second they belong to, averages come out. Values of one second add up; a window that is not full
yet is averaged over the seconds it has; a gap of a whole window starts afresh. The order of additions is Knative's, so
results agree to the last bit.
"""

from __future__ import annotations

import math
from functools import lru_cache

from kserve_ext.simulate.kpa.gofloat import power, round_digits, to_nanosecond

_DIGITS = 6  # Knative's `precision` of a linear average
_NEVER = -(1 << 62)  # the second of a write that has not happened

# 1 - 0.0001^(1/n) for n = 1..41 buckets, in Go's bits (its exp and log differ from libm's in the last place).
_COEFFICIENTS = (
    0.9999,
    0.99,
    0.9535841116638721,
    0.9,
    0.8415106807538886,
    0.7845565309968116,
    0.7317304204720274,
    0.683772233983162,
    0.6406186336195372,
    0.6018928294465027,
    0.5671238718916941,
    0.535841116638722,
    0.507611736829326,
    0.4820525320768788,
    0.45883047345353634,
    0.4376586748096509,
    0.41829086706256413,
    0.40051574968105896,
    0.3841517889339736,
    0.36904265551980675,
    0.3550533228962376,
    0.342066775342432,
    0.3299812496490411,
    0.31870793094203875,
    0.3081690290810636,
    0.29829617132961717,
    0.28902905676875645,
    0.28031432699884795,
    0.27210461560168486,
    0.2643577455403586,
    0.25703604924050527,
    0.2501057906675441,
    0.24353667244537114,
    0.23730141409765548,
    0.231375389960226,
    0.2257363173188729,
    0.22036398695947668,
    0.21524002964853872,
    0.21034771315002732,
    0.2056717652757185,
    0.20119821919842973,
)
_SMALLEST_COEFFICIENT = 0.2  # Knative's minExponent; from 42 buckets on the formula is below it


def smoothing_coefficient(buckets: int) -> float:
    """Weight of the newest of n buckets: max(1 - (1 - 0.9999)^(1/n), 0.2); 60 -> 0.2, 6 -> 0.785."""
    return _COEFFICIENTS[buckets - 1] if buckets <= len(_COEFFICIENTS) else _SMALLEST_COEFFICIENT


class LinearWindow:
    """Plain mean of the buckets, to six decimals."""

    __slots__ = ("_buckets", "_first", "_last", "_size", "_total", "_window_s")

    def __init__(self, window_s: float) -> None:
        self._window_s = to_nanosecond(window_s)
        self._size = math.ceil(self._window_s)
        self._buckets = [0.0] * self._size
        self._first = _NEVER
        self._last = _NEVER
        self._total = 0.0

    def record(self, second: int, value: float) -> None:
        """Add a value to its second. What is a whole window older than the newest value is dropped."""
        if second != self._last:
            if self._last - second >= self._window_s:
                return
            if self._first == _NEVER or second < self._first:
                self._first = second
            if second > self._last:
                self._advance(second)
        self._buckets[second % self._size] += value
        self._total += value

    def _advance(self, second: int) -> None:
        """Make `second` the newest bucket and clear what lies between."""
        if second - self._last >= self._window_s:
            self._first = second
            self._buckets = [0.0] * self._size
            self._total = 0.0
        else:
            for passed in range(self._last + 1, second + 1):
                index = passed % self._size
                self._total -= self._buckets[index]
                self._buckets[index] = 0.0
        self._last = second

    def is_empty(self, second: int) -> bool:
        """Whether nothing was recorded for longer than the window."""
        return second - self._last > self._window_s

    def average(self, second: int) -> float:
        """The mean as of `second`: missing seconds at the end shorten the window, those in the middle count as zero."""
        gap = second - self._last
        if gap >= self._window_s:
            return 0.0
        total = self._total
        for passed in range(self._last + 1, second + 1):
            total -= self._buckets[passed % self._size]
        count = min(self._last - self._first + 1, self._size - max(0, gap))
        return round_digits(_DIGITS, total / count)

    def resize(self, window_s: float, second: int) -> None:
        """Change the length and keep what fits, as a live change of the window does; `second` is now."""
        window_s = to_nanosecond(window_s)
        if window_s == self._window_s:
            return
        old, old_size, alive = self._buckets, self._size, second - self._last <= self._window_s
        self._window_s = window_s
        self._size = math.ceil(window_s)
        self._buckets = [0.0] * self._size
        self._total = 0.0
        self._first = self._last - (old_size - 1) if alive else _NEVER  # even if the first value came later
        for kept in range(self._last, self._last - min(self._size, old_size), -1) if alive else ():
            self._buckets[kept % self._size] = old[kept % old_size]
            self._total += old[kept % old_size]


class WeightedWindow(LinearWindow):
    """Mean with weights that fall by a constant factor per second of age (weighted-exponential)."""

    __slots__ = ("_coefficient",)

    def __init__(self, window_s: float) -> None:
        super().__init__(window_s)
        self._coefficient = smoothing_coefficient(self._size)

    def average(self, second: int) -> float:
        """The weighted mean as of `second`. It starts low: one value alone has the weight of one bucket."""
        if self.is_empty(second):
            return 0.0
        newest = self._last % self._size
        newest_first = self._buckets[newest::-1] + self._buckets[:newest:-1]
        average = 0.0
        for value, weight in zip(newest_first, self._weights(max(0, second - self._last)), strict=False):
            average += value * weight
        return average

    def _weights(self, gap: int) -> tuple[float, ...]:
        return _weights(self._coefficient, gap, self._size - gap)

    def resize(self, window_s: float, second: int) -> None:
        super().resize(window_s, second)
        self._coefficient = smoothing_coefficient(self._size)


@lru_cache(maxsize=256)
def _weights(coefficient: float, gap: int, count: int) -> tuple[float, ...]:
    """Weights of `count` buckets, newest first, when the newest value is `gap` seconds old."""
    weight = coefficient * power(1 - coefficient, gap) if gap else coefficient
    weights = []
    for _ in range(count):
        weights.append(weight)
        weight *= 1 - coefficient
    return tuple(weights)
