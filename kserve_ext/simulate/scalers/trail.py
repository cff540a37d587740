"""The last seconds of a metric as a frozen value, averaged as Knative's autoscaler averages them.

The arithmetic is that of `kpa.window`, operation by operation, so the averages are equal to the bit; there the window
is one mutable object, here every record makes a new one, so that a scaler's state can be kept and taken up again.
"""

from __future__ import annotations

from dataclasses import dataclass

from kserve_ext.simulate.kpa.gofloat import round_digits
from kserve_ext.simulate.kpa.window import WeightedWindow

_DIGITS = 6  # Knative's `precision` of a linear average


@dataclass(frozen=True, slots=True)
class Trail:
    """Values of the seconds up to `last`, one each, oldest first, at most `size`."""

    size: int
    values: tuple[float, ...] = ()
    last: int = 0
    total: float = 0.0  # running sum: not the sum of the values to the last bit

    def record(self, second: int, value: float) -> Trail:
        """With the value of a later second. Seconds left out count as zero; a gap of a whole window starts afresh."""
        gap = second - self.last
        if not self.values or gap >= self.size:
            return Trail(self.size, (value,), second, value)
        values, total = self.values, self.total
        if gap > 1:
            values += (0.0,) * (gap - 1)
        dropped = max(0, len(values) + 1 - self.size)
        for old in values[:dropped]:
            total -= old
        return Trail(self.size, (*values[dropped:], value), second, total + value)

    def is_empty(self, second: int) -> bool:
        """Whether nothing was recorded for longer than the window."""
        return not self.values or second - self.last > self.size

    def mean(self, second: int) -> float:
        """Plain mean as of `second`: missing seconds at the end shorten the window."""
        gap = second - self.last
        if not self.values or gap >= self.size:
            return 0.0
        total = self.total
        for old in self.values[: max(0, len(self.values) + gap - self.size)]:
            total -= old
        return round_digits(_DIGITS, total / min(len(self.values), self.size - gap))

    def weighted_mean(self, second: int) -> float:
        """Mean with weights that fall with age (weighted-exponential); it keeps no running sum."""
        window = WeightedWindow(self.size)
        for at, value in enumerate(self.values, self.last + 1 - len(self.values)):
            window.record(at, value)
        return window.average(second)
