"""Whether activators belong in the path, by burst capacity: what Knative's autoscaler decides every 2 s.

It takes the room in the ready pods beyond the mean concurrency of the panic window; less than the target burst capacity,
and requests go through activators. The autoscaler's own numbers decide, to the bit; how long the network takes to
follow, about a second, is left out.
"""

from __future__ import annotations

from kserve_ext.simulate import kpa
from kserve_ext.simulate.kpa.delay import TICK_S
from kserve_ext.simulate.kpa.window import LinearWindow


class BurstWatch:
    """Counts requests as they come and go; asked every second."""

    def __init__(self, config: kpa.Config) -> None:
        self._config = config
        self._window = LinearWindow(config.panic_window_s)
        self._stats = kpa.RequestStats(0.0)

    def arrive(self, now_s: float) -> None:
        """A request has come, wherever it waits."""
        self._stats.arrive(now_s)

    def leave(self, now_s: float) -> None:
        """It is over."""
        self._stats.leave(now_s)

    def look(self, second: int, ready: int) -> bool | None:
        """Whether activators belong in the path; None between the decisions. Ask at every whole second."""
        self._window.record(second, self._stats.report(float(second)).concurrency)
        if second % TICK_S:
            return None
        state = kpa.start(self._config, ready, float(second))  # burst capacity has no memory but the window
        _, decision = kpa.decide(self._config, state, second, ready, 0.0, self._window.average(second))
        return decision.excess_burst_capacity < 0
