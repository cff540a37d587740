"""The retry budget of one client, shared by its requests and threads."""

from __future__ import annotations

import threading

from kserve_ext.client.retry import RetryPolicy, earn, spend


class Budget:
    """How many retries and hedges may still be sent."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tokens = policy.burst
        self._lock = threading.Lock()

    def request(self) -> None:
        """Count a request: it earns its share of a retry."""
        with self._lock:
            self._tokens = earn(self._tokens, self._policy)

    def take(self) -> bool:
        """Take one retry; False when there is none left."""
        with self._lock:
            left = spend(self._tokens)
            if left is None:
                return False
            self._tokens = left
            return True
