"""The ends of a replica's life: when a pod that answers is sent its first request, and when one that leaves is gone.

Times in, times out. What lies before the first answer (scheduling, pull, load, warm-up) is measured per model.
"""

from __future__ import annotations

import math

ACTIVATOR_PROBE_S = 0.2  # Knative: the activator asks every pod that is not ready yet, this often
DRAIN_S = 30.0  # queue-proxy: quiet period after TERM, so that the network can forget the pod


def noticed_s(answers_s: float, *, since_s: float = 0.0, probe_s: float = ACTIVATOR_PROBE_S) -> float:
    """When a pod that can answer from `answers_s` on is found: at the next probe, asked every `probe_s` from `since_s`.

    With an exec readiness probe or any startup probe the activator waits for Kubernetes instead: use its period.
    """
    if answers_s <= since_s:
        return since_s
    return since_s + math.ceil((answers_s - since_s) / probe_s) * probe_s


def gone_s(leaves_s: float, *, last_answer_s: float = -math.inf, timeout_s: float) -> float:
    """When a pod that gets no request from `leaves_s` on is gone: drained, and at the latest when it is killed.

    Its grace period is the revision's timeout, so a drain is cut short where that is under 30 s.
    """
    return min(leaves_s + timeout_s, max(leaves_s + DRAIN_S, last_answer_s))
