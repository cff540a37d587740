"""What must survive a restart, as ConfigMap data: the requests of the last days, minute by minute. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kserve_ext.intent.annotations import PREFIX
from kserve_ext.policy.forecast import History

HISTORY_LABEL = PREFIX + "history"
_LONGEST_NAME = 200
_MOST_BINS = 14 * 1440


def history_name(namespace: str, name: str) -> str:
    """The ConfigMap of a service's history, in the operator's namespace."""
    whole = f"history-{namespace}-{name}"
    mark = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:8]  # a-b/c and a/b-c are two services
    return f"{whole[:_LONGEST_NAME]}-{mark}"


def history_configmap(own_namespace: str, namespace: str, name: str, history: History) -> dict[str, Any]:
    """The history to be kept, bounded."""
    counts = history.last(_MOST_BINS)
    packed = zlib.compress(np.asarray(counts, dtype="<u4").tobytes(), 6)
    data = {"first_s": str(history.last_s - len(counts) * history.bin_s), "bin_s": str(history.bin_s)}
    return {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": history_name(namespace, name), "namespace": own_namespace, "labels": {HISTORY_LABEL: "true"},
                     "annotations": {PREFIX + "service": f"{namespace}/{name}"}},
        "data": data, "binaryData": {"counts": base64.b64encode(packed).decode()},
    }  # fmt: skip


def service_of_history(configmap: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of the service that a history is of."""
    namespace, _, name = str((configmap["metadata"].get("annotations") or {}).get(PREFIX + "service", "")).partition(
        "/"
    )
    return namespace, name


def read_history(configmap: Mapping[str, Any], now_s: float) -> tuple[float, int, tuple[int, ...]] | None:
    """Where it begins, the length of a bin, and the counts up to now; None where it cannot be read or nothing is left.

    What lies in the future was written by a clock that was wrong, and is dropped.
    """
    try:
        first_s, bin_s = float(configmap["data"]["first_s"]), int(configmap["data"]["bin_s"])
        packed = zlib.decompress(base64.b64decode(configmap["binaryData"]["counts"]))
        counts: Sequence[int] = np.frombuffer(packed, dtype="<u4").tolist()
    except (KeyError, TypeError, ValueError, zlib.error, binascii.Error):
        return None
    if bin_s <= 0:
        return None
    past = max(0, min(len(counts), int((now_s - first_s) // bin_s)))
    return (first_s, bin_s, tuple(counts[:past])) if past else None
