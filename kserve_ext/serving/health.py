"""Whether a model may be sent requests, and if not, why: a function of its state and of how long its instances are busy.

No I/O and no clock. Asking never waits for a running model.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class State(StrEnum):
    """Where a model is in its life."""

    LOADING = "loading"
    READY = "ready"
    UNLOADED = "unloaded"
    FAILED = "failed to load"
    ENDING = "about to end"


def why_unready(state: State, busy_since_s: Iterable[float | None], *, now_s: float, stuck_after_s: float) -> str:
    """Empty for a model that may be sent requests. `busy_since_s`: for each instance, None where it is idle."""
    if state is not State.READY:
        return state.value
    if stuck_after_s:
        longest_s = max((now_s - since for since in busy_since_s if since is not None), default=0.0)
        if longest_s > stuck_after_s:
            return f"an instance has been busy with one batch for {longest_s:.0f} s"
    return ""
