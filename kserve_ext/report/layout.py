"""Where things stand in a figure: margins in pixels, and names beside points that cover no other name.

matplotlib's own layout is left out where there are several axes: its solver's last digits change from run to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kserve_ext.report.charts.canvas import Ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FONT_PX = 11.0
_WIDTH_PX = 6.4  # of a letter, on the mean
_TRIES = (
    (10, 0, "left"), (-10, 0, "right"), (0, 14, "center"), (0, -14, "center"), (9, 13, "left"), (9, -13, "left"),
    (-9, 13, "right"), (-9, -13, "right"), (10, 26, "left"), (10, -26, "left"), (0, 30, "center"), (0, -30, "center"),
)  # fmt: skip


def margins(figure: Figure, *, left: int, top: int, right: int, bottom: int, gap: int = 0) -> None:
    """Fixed margins around all axes, and a gap between one and the next below it, in pixels."""
    width, height = (float(inches) * 72 for inches in figure.get_size_inches())
    rows = max(1, len(figure.axes))
    axes_px = max(1.0, (height - top - bottom - gap * (rows - 1)) / rows)
    figure.set_layout_engine(None)
    figure.subplots_adjust(
        left=left / width, right=1 - right / width, top=1 - top / height, bottom=bottom / height, hspace=gap / axes_px
    )


class _Box(NamedTuple):
    left: float
    right: float
    low: float
    high: float

    def overlap(self, other: _Box) -> float:
        """The area in common."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.high, other.high) - max(self.low, other.low)
        return wide * high if wide > 0 and high > 0 else 0.0


def place_labels(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float, Ink, bool]]) -> None:
    """Write each name beside its point `(name, x, y, ink, strong)`; limits and scales of the axes are set before."""
    figure.draw_without_rendering()
    pixels = [tuple(axes.transData.transform((x, y))) for _, x, y, *_ in points]
    frame = axes.get_window_extent()
    inside = _Box(frame.x0, frame.x1, frame.y0, frame.y1)
    taken = [_Box(x - 6, x + 6, y - 6, y + 6) for x, y in pixels]
    for (name, x, y, ink, strong), (px, py) in zip(points, pixels, strict=True):
        dx, dy, side, box = min(_tries(name, px, py), key=lambda each: _cost(each[3], taken, inside))
        taken.append(box)
        axes.annotate(
            name, (x, y), (dx, dy), textcoords="offset points", ha=side, va="center_baseline", fontsize=_FONT_PX,
            color=Ink.MUTED.value if ink is Ink.QUIET else ink.value, fontweight="bold" if strong else "normal",
        )  # fmt: skip


def _tries(name: str, px: float, py: float) -> list[tuple[int, int, str, _Box]]:
    width = _WIDTH_PX * len(name)
    shift = {"left": 0.0, "center": width / 2, "right": width}
    return [
        (dx, dy, side, _Box(px + dx - shift[side], px + dx - shift[side] + width, py + dy - 7, py + dy + 7))
        for dx, dy, side in _TRIES
    ]  # fmt: skip


def _cost(box: _Box, taken: Sequence[_Box], inside: _Box) -> float:
    """What it covers, and what of it would lie outside."""
    area = (box.right - box.left) * (box.high - box.low)
    return sum(box.overlap(other) for other in taken) + 2 * (area - box.overlap(inside))
