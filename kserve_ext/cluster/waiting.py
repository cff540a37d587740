"""Looks at an InferenceService until it serves what was asked, and tells each step and what stands in the way."""

from __future__ import annotations

import time
from collections.abc import Callable

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.collect import find_service, take
from kserve_ext.cluster.readiness import Phase, Readiness, judge
from kserve_ext.cluster.snapshot import Snapshot
from kserve_ext.errors import NotReadyError
from kserve_ext.units import format_duration

Say = Callable[[str], None]

_LOOK_EVERY_S = (0.5, 2.0)  # at first, and later on
_LOOK_CLOSELY_S = 15.0


def wait_ready(
    cluster: Cluster, name: str, namespace: str, *, timeout_s: float, say: Say = lambda text: None,
    child_before: tuple[str, int] | None = None,
) -> Snapshot:  # fmt: skip
    """The service once it is ready. Raises NotReadyError with the cause when `timeout_s` is over, InputError when it is
    not there. `child_before` is the child's identity before a change: without it the change is taken to be an old one.
    """
    started = time.monotonic()
    told = ""
    while True:
        found = take(cluster, find_service(cluster, name, namespace))
        passed_s = time.monotonic() - started
        now = judge(found, since_s=passed_s, child_before=child_before)
        if now.ready:
            return found
        if now.phase is Phase.STOPPED:
            raise NotReadyError(f"{name} is {now.step}", remedy=f"kubectl annotate isvc {name} serving.kserve.io/stop-")
        text = in_words(now)
        if text != told:
            say(f"{passed_s:5.1f}s  {text}")
            told = text
        if passed_s >= timeout_s:
            raise _too_late(name, timeout_s, now)
        pause_s = _LOOK_EVERY_S[passed_s > _LOOK_CLOSELY_S]
        time.sleep(min(pause_s, max(0.0, timeout_s - passed_s)))


def in_words(now: Readiness) -> str:
    """One line: where it stands, and why."""
    return f"{now.step}: {now.causes[0].sentence}" if now.causes else now.step


def _too_late(name: str, timeout_s: float, now: Readiness) -> NotReadyError:
    lines = [f"{name} is not ready after {format_duration(timeout_s)}: {now.step}"]
    lines += [cause.sentence for cause in now.causes]
    remedies = dict.fromkeys(cause.remedy for cause in now.causes) or {
        f"kserve-ext status {name}, kserve-ext logs {name}": None
    }
    return NotReadyError("\n".join(lines), remedy="\n".join(remedies))


def wait_gone(cluster: Cluster, name: str, namespace: str, *, timeout_s: float) -> None:
    """Return when the service and its pods are gone. Raises NotReadyError when they are still there."""
    from kserve_ext.cluster.collect import service_ref

    until = time.monotonic() + timeout_s
    while True:
        pods = cluster.list("v1", "Pod", namespace=namespace, labels=f"serving.kserve.io/inferenceservice={name}")
        if not pods and cluster.get(service_ref(name, namespace)) is None:
            return
        if time.monotonic() > until:
            what = f"{name} is not gone after {format_duration(timeout_s)}: {len(pods)} pods are still ending"
            raise NotReadyError(what, remedy="a pod ends its requests first, for as long as the service's timeout")
        time.sleep(1.0)
