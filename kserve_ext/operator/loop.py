"""The loop: observe every service, let `step` decide, patch min-scale where it differs. One round at a time.

All decisions are in `scaled`, `floors` and the policy; here things are fetched, handed over and sent. Nothing is asked
of the API server but what changes: objects come from watches, and changes go out at a bounded rate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Ref, ref_of
from kserve_ext.errors import KserveExtError
from kserve_ext.observe.readings import Asked, Counted, Key, Source
from kserve_ext.operator.floors import (
    Target,
    floor_of,
    live_revision,
    needs_waking,
    raised,
    target_of,
)
from kserve_ext.operator.reconcile import reconcile
from kserve_ext.operator.records import (
    HISTORY_LABEL,
    history_configmap,
    history_name,
    read_history,
    service_of_history,
)
from kserve_ext.operator.scaled import (
    Scaled,
    floor_now,
    floor_settings,
    fresh,
    is_undecided,
    known_s,
    learned,
    needs_learning,
    observed,
    resized,
)
from kserve_ext.operator.services import Operated
from kserve_ext.policy.floor import FloorSettings, ScalerState, start
from kserve_ext.policy.floor import learn as learn_floor

log = logging.getLogger(__name__)

ROUND_S = 10.0
_KEPT_EVERY_S = 600.0  # a history is written so often
_WAKE_EVERY_S = 60.0
_HISTORY_S = 14 * 86_400.0


class Objects(Protocol):
    """What watches know."""

    def planned(self) -> Mapping[Key, Operated]: ...
    def operated(self) -> Mapping[Key, Operated]: ...
    def pending(self) -> frozenset[Key]: ...
    def service(self, key: Key) -> Mapping[str, Any] | None: ...
    def revision(self, namespace: str, name: str) -> Mapping[str, Any] | None: ...
    def revisions(self) -> tuple[Mapping[str, Any], ...]: ...
    def autoscaler(self, namespace: str, name: str) -> Mapping[str, Any] | None: ...
    def pods_by_service(self) -> Mapping[Key, tuple[tuple[str, str], ...]]: ...


Learn = Callable[[FloorSettings, float, tuple[int, ...], int], "Future[ScalerState]"]
Say = Callable[[Mapping[str, Any], str, str], None]  # service, reason, text: an Event


@dataclass
class Loop:
    """What the loop works with, and what it remembers between rounds."""

    cluster: Cluster
    objects: Objects
    source: Source
    learn: Learn
    say: Say
    wake: Callable[[str], None]
    own_namespace: str
    ttl_s: float = 300.0
    services: dict[Key, Scaled] = field(default_factory=dict)
    sizes: dict[Key, tuple[str, FloorSettings]] = field(default_factory=dict)
    learning: dict[Key, Future[ScalerState]] = field(default_factory=dict)
    kept_s: dict[Key, float] = field(default_factory=dict)
    woken_s: dict[Key, float] = field(default_factory=dict)
    told: dict[Key, str] = field(default_factory=dict)
    counted: Mapping[Key, Counted] = field(default_factory=dict)  # in the last round
    pods: dict[Key, int] = field(default_factory=dict)  # that answer, in the last round
    begun_s: float | None = None
    blind_since_s: float | None = None
    patches: int = 0
    rounds: int = 0
    busy_s: float = 0.0  # of the process, in rounds

    def round(self, now_s: float) -> None:
        """One round. Raises KserveExtError where the API server does not answer."""
        began = time.thread_time()
        operated = self.objects.operated()
        for key in [key for key in self.services if key not in operated]:
            self._forget(key)
        counted = self.counted = self._observe(self.objects.planned(), now_s)
        wanted: dict[Key, int] = {}
        for key, one in operated.items():
            self._update(key, one, counted.get(key), now_s)
            self._decide(key, wanted, now_s)
        if self.begun_s is None:
            self.begun_s = now_s
            self._sweep()
        pending = self.objects.pending() if now_s - self.begun_s < self.ttl_s else frozenset()
        reconcile(self.cluster, self.objects.revisions(), wanted, pending, self._patched)
        self._keep(operated, now_s)
        self.rounds += 1
        self.busy_s += time.thread_time() - began

    # ------------------------------------------------------------------------------------------------- observation

    def _observe(self, planned: Mapping[Key, Operated], now_s: float) -> Mapping[Key, Counted]:
        """What every service with a plan has answered, floor or not: the promise is to be held in either case."""
        asked, pods = {}, self.objects.pods_by_service()
        self.pods = {key: len(found) for key, found in pods.items()}
        for key, one in planned.items():
            latest, shares = live_revision(self.objects.service(key) or {})
            revisions = tuple(dict.fromkeys([latest, *shares]))
            asked[key] = Asked(slo_s=one.plan.slo.p99_s, pods=pods.get(key, ()), revisions=revisions)
        try:
            counted = self.source.sample(asked, now_s)
        except KserveExtError as error:
            if self.blind_since_s is None:
                log.warning("nothing is observed: %s; floors stay until they expire", error)
                self.blind_since_s = now_s
            return {}
        self.blind_since_s = None
        return counted

    def _update(self, key: Key, one: Operated, counted: Counted | None, now_s: float) -> None:
        """Bring a service's state up to date: its settings, what it learned, what was counted."""
        settings = self._settings(key, one)
        service = self.services.get(key)
        if service is None:
            service = self._first(key, one, settings, now_s)
        elif service.settings is not settings:
            service = resized(service, settings, one.plan.slo.p99_s)
        future = self.learning.get(key)
        if needs_learning(service) and future is None:
            service = learned(service, start(settings))
        elif future is not None and future.done():
            del self.learning[key]
            state = start(settings) if future.cancelled() or future.exception() else future.result()
            service = learned(service, state)
        if counted is not None:
            target = self.target(key)
            pods = self.pods.get(key, 0)
            ready, desired = (target.ready, target.desired) if isinstance(target, Target) else (pods, pods)
            service = observed(service, counted, now_s, ready, max(0, desired - ready))
        self.services[key] = service

    def _settings(self, key: Key, one: Operated) -> FloorSettings:
        known = self.sizes.get(key)
        if known is None or known[0] != one.digest:
            known = (one.digest, floor_settings(one.plan, one.profile, self.ttl_s))
            self.sizes[key] = known
        return known[1]

    def _first(self, key: Key, one: Operated, settings: FloorSettings, now_s: float) -> Scaled:
        """A service seen for the first time learns from what was kept, or from what the source remembers."""
        history = self._history(key, one, now_s)
        if history is not None:
            begin_s, bin_s, counts = history
            self.learning[key] = self.learn(settings, begin_s, counts, bin_s)
        return fresh(settings, one.plan.slo.p99_s, now_s, learning=history is not None)

    def _history(self, key: Key, one: Operated, now_s: float) -> tuple[float, int, tuple[int, ...]] | None:
        ref = Ref(api_version="v1", kind="ConfigMap", namespace=self.own_namespace, name=history_name(*key))
        found = self.cluster.get(ref)
        kept = read_history(found, now_s) if found is not None else None
        try:
            asked = Asked(slo_s=one.plan.slo.p99_s)
            remembered = self.source.history(key, asked, now_s, _HISTORY_S)
        except KserveExtError:
            remembered = None
        if remembered is not None and (kept is None or len(remembered[1]) > len(kept[2])):
            return remembered[0], 60, remembered[1]
        return kept

    def forecasts(self, now_s: float) -> Mapping[Key, float]:
        """Requests per second that the floors in force are sized for, of services whose replicas another sets by them."""
        return {
            key: floor_now(service, now_s) * one.plan.horizontal.target
            for key, one in self.objects.operated().items()
            if one.plan.horizontal is not None and (service := self.services.get(key)) is not None
        }

    # --------------------------------------------------------------------------------------------------- decisions

    def target(self, key: Key) -> Target | str:
        """The Revision that carries a service's traffic; or, in words, why there is none."""
        service = self.objects.service(key)
        if service is None:
            return "it is gone"
        name = live_revision(service)[0]
        return target_of(service, self.objects.revision(key[0], name), self.objects.autoscaler(key[0], name))

    def _decide(self, key: Key, wanted: dict[Key, int], now_s: float) -> None:
        """Note the min-scale that a service's Revision is to have, under the Revision's key."""
        service, target = self.services[key], self.target(key)
        if isinstance(target, str):
            self._tell(key, "FloorPaused", f"no floor: {target}")
            self.services[key] = replace(service, raised_s=None)
            return
        floor = floor_now(service, now_s)
        scale = raised(target, floor)
        if is_undecided(service, now_s) and (left := self._left(target)) is not None:
            wanted[target.namespace, target.revision] = left
            return
        if scale is not None:
            wanted[target.namespace, target.revision] = scale
            self._tell(key, "FloorRaised", self._reason(service, target, scale))
        elif target.unschedulable and floor > target.base:
            self._tell(
                key, "FloorPaused", f"no floor of {floor}: pods of {target.revision} cannot be placed on any node"
            )
        elif self.told.get(key, "").startswith("FloorRaised"):
            self._tell(key, "FloorRemoved", f"min-scale of {target.revision} is {target.base} again")
        since = service.raised_s if service.raised_s is not None else now_s
        self.services[key] = replace(service, raised_s=since if scale is not None else None)
        if needs_waking(target, scale, now_s - since) and now_s - self.woken_s.get(key, 0.0) >= _WAKE_EVERY_S:
            self.woken_s[key] = now_s
            self._tell(key, "FloorWoken", "the autoscaler has decided nothing since its restart: one request was sent")
            self.wake(f"http://{key[1]}-predictor.{key[0]}.svc.cluster.local/v2/health/ready")

    def _left(self, target: Target) -> int | None:
        """The floor that an earlier leader left on the live Revision."""
        revision = self.objects.revision(target.namespace, target.revision)
        return None if revision is None else floor_of(revision)

    def _reason(self, service: Scaled, target: Target, scale: int) -> str:
        why = "; ".join(reason.text for reason in service.decision.reasons) if service.decision else ""
        return f"min-scale of {target.revision} raised from {target.base} to {scale}: {why}"

    def _tell(self, key: Key, reason: str, text: str) -> None:
        """An Event, once for each change of what is to be said."""
        mark = f"{reason} {text if reason == 'FloorPaused' else ''}"
        service = self.objects.service(key)
        if self.told.get(key, "FloorPaused no floor: no Revision is ready") != mark and service is not None:
            self.say(service, reason, text)
        self.told[key] = mark

    def _patched(self) -> None:
        self.patches += 1

    # ------------------------------------------------------------------------------------------------- what is kept

    def _keep(self, operated: Mapping[Key, Operated], now_s: float) -> None:
        """Write histories, each at its own time of the interval."""
        for key in operated:
            service = self.services[key]
            due = self.kept_s.setdefault(key, now_s - _KEPT_EVERY_S * (hash(key) % 1000) / 1000)
            if now_s - due < _KEPT_EVERY_S or service.state is None or not known_s(service):
                continue
            self.kept_s[key] = now_s
            body = history_configmap(self.own_namespace, *key, service.state.forecasts.history)
            self.cluster.apply(body, force=True)

    def _sweep(self) -> None:
        """Histories of services that went while no operator was there."""
        for found in self.cluster.list("v1", "ConfigMap", namespace=self.own_namespace, labels=HISTORY_LABEL):
            if self.objects.service(service_of_history(found)) is None:
                self.cluster.delete(ref_of(found))

    def _forget(self, key: Key) -> None:
        """A service that is gone, or no longer wants a floor, leaves nothing behind."""
        for kept in (self.services, self.sizes, self.learning, self.kept_s, self.woken_s, self.told):
            kept.pop(key, None)
        if self.objects.service(key) is None:
            self.cluster.delete(
                Ref(api_version="v1", kind="ConfigMap", namespace=self.own_namespace, name=history_name(*key))
            )


def learn(settings: FloorSettings, begin_s: float, counts: tuple[int, ...], bin_s: int) -> ScalerState:
    """The floor's state after a history; what takes seconds, and so runs in a process of its own."""
    return learn_floor(start(settings), begin_s, counts, bin_s, settings)
