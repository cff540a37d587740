"""The operator's own metrics, in Prometheus' text format."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Figures:
    """Counters and gauges; `gauges` are asked when they are shown, their labels written in their names."""

    def __init__(self, gauges: Callable[[], Mapping[str, float]] = dict) -> None:
        self.gauges = gauges
        self._lock = threading.Lock()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._answers: dict[tuple[str, str], int] = {}

    @contextmanager
    def timed(self, path: str) -> Iterator[None]:
        """Time one review."""
        began = time.perf_counter()
        try:
            yield
        finally:
            spent_s = time.perf_counter() - began
            with self._lock:
                buckets = self._buckets.setdefault(path, [0] * (len(_BOUNDS_S) + 1))
                buckets[bisect.bisect_left(_BOUNDS_S, spent_s)] += 1
                self._seconds[path] = self._seconds.get(path, 0.0) + spent_s

    def answered(self, path: str, response: Mapping[str, Any]) -> None:
        """Count an answer by what it was."""
        what = "refused" if not response["allowed"] else "planned" if "patch" in response else "allowed"
        with self._lock:
            self._answers[path, what] = self._answers.get((path, what), 0) + 1

    def text(self) -> str:
        """The exposition."""
        lines = ["# TYPE kserve_ext_admission_duration_seconds histogram"]
        with self._lock:
            for path, buckets in sorted(self._buckets.items()):
                webhook, total = path.strip("/"), 0
                for bound, count in zip((*_BOUNDS_S, "+Inf"), buckets, strict=True):
                    total += count
                    lines.append(
                        f'kserve_ext_admission_duration_seconds_bucket{{webhook="{webhook}",le="{bound}"}} {total}'
                    )
                lines.append(f'kserve_ext_admission_duration_seconds_count{{webhook="{webhook}"}} {total}')
                lines.append(
                    f'kserve_ext_admission_duration_seconds_sum{{webhook="{webhook}"}} {self._seconds[path]:.6f}'
                )
            lines.append("# TYPE kserve_ext_admission_answers_total counter")
            lines += [f'kserve_ext_admission_answers_total{{webhook="{path.strip("/")}",answer="{what}"}} {count}'
                      for (path, what), count in sorted(self._answers.items())]  # fmt: skip
        for name, value in sorted(self.gauges().items()):
            kind = f"# TYPE {name.partition('{')[0]} gauge"
            lines += [*([] if kind in lines else [kind]), f"{name} {value:g}"]
        return "\n".join(lines) + "\n"
