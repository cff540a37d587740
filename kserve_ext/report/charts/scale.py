"""Axes that read: round ticks in the unit a reader thinks in, logarithmic only where the values need it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_LOG_FROM = 20.0  # largest over smallest value from which a linear axis hides the small ones
_LABEL_SHARE = 0.06  # of the axis height that one line of text takes


def drawable(values: Iterable[float]) -> list[float]:
    """The values that have a place on any axis: finite and above zero."""
    return [value for value in values if math.isfinite(value) and value > 0]


def needs_log(values: Sequence[float]) -> bool:
    """Whether the values spread too far for a linear axis."""
    return bool(values) and max(values) / min(values) > _LOG_FROM


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round values within [low, high]: 1, 2, 5 of each decade if they fit, else 1 and 3, else 1."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) <= most:
            break
    return ticks[:: max(1, math.ceil(len(ticks) / most))]


def duration_axis(
    axes: Axes, which: Literal["x", "y"], low_s: float, high_s: float, *, log: bool, most: int = 7
) -> None:
    """Limits and ticks (`5 ms`, `1 s`) of one axis; a linear one starts at zero whatever `low_s` is."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    set_scale, set_limits = (axes.set_xscale, axes.set_xlim) if which == "x" else (axes.set_yscale, axes.set_ylim)
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_scale("log" if log else "linear")
    set_limits(low_s if log else 0.0, high_s)
    axis.set_major_locator(
        FixedLocator(log_ticks(low_s, high_s, most))
        if log
        else MaxNLocator(nbins=min(most, 5), steps=[1, 2, 2.5, 5, 10])
    )
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: wording.duration(value)))


def plain_axis(axis: Axis) -> None:
    """A linear axis of plain numbers, with thousands apart."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: wording.number(value)))


def rate_axis(axes: Axes) -> None:
    """A vertical axis of rates from zero."""
    plain_axis(axes.yaxis)
    axes.set_ylim(bottom=0)


def apart(values: Sequence[float], gap: float) -> list[float]:
    """The values, moved up where two are closer than `gap`: heights at which labels do not overlap."""
    placed = list(values)
    for lower, upper in pairwise(sorted(range(len(placed)), key=placed.__getitem__)):
        placed[upper] = max(placed[upper], placed[lower] + gap)
    return placed


def name_lines(axes: Axes, ends: Sequence[tuple[str, float, float, bool]]) -> None:
    """Write each line's name right of its end `(name, x, y, planned)`, once the limits of the axes are set."""
    to_share = axes.transData + axes.transAxes.inverted()
    shares = [float(to_share.transform((x, y))[1]) for _, x, y, _ in ends]
    for (name, x, _, planned), share in zip(ends, apart(shares, _LABEL_SHARE), strict=True):
        axes.annotate(
            name, (x, share), (13, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
            va="center_baseline", color=(Ink.PLAN if planned else Ink.MUTED).value, fontsize=11,
        )  # fmt: skip


def batch_axis(axes: Axes, batches: Iterable[int], *, most: int = 9) -> None:
    """A horizontal axis of batch sizes by powers of two, ticks only at sizes that occur, thinned to `most`."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log", base=2)
    sizes = sorted(set(batches))
    step = math.ceil(len(sizes) / most)
    axes.xaxis.set_major_locator(FixedLocator([float(size) for size in sizes[::-step]]))  # keeps the largest
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.number(value)))
