"""The operator's process: webhooks on every replica, the loop and all writing on the one that holds the Lease."""

from __future__ import annotations

import concurrent.futures
import datetime
import functools
import gc
import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore2

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Ref
from kserve_ext.errors import KserveExtError
from kserve_ext.observe import ExecutionReader, Prometheus, Scraper, Source
from kserve_ext.operator.admission import Admission
from kserve_ext.operator.certificates import read_certificate, renewed, trust
from kserve_ext.operator.events import Events
from kserve_ext.operator.figures import Figures
from kserve_ext.operator.guard import FLOORS_LEASE, remove_all
from kserve_ext.operator.learner import Learner
from kserve_ext.operator.lease import Lease
from kserve_ext.operator.loop import ROUND_S, Loop, learn
from kserve_ext.operator.planner import Planner
from kserve_ext.operator.scaled import TTL_S
from kserve_ext.operator.server import App, CertificateFiles, https_server, serve_status
from kserve_ext.operator.world import World
from kserve_ext.policy.floor import FloorSettings, ScalerState
from kserve_ext.render.queries import forecast_series

log = logging.getLogger(__name__)

CONFIGURATION = (
    "admission.kserve-ext.dev"  # sorts before KServe's own: it is asked first, and again after KServe changed something
)
SERVICE_NAME = "kserve-ext-webhook"
DEPLOYMENT = "kserve-ext-operator"
LEADER_LEASE, _LEASE_S, _HOLD_EVERY_S = "kserve-ext-operator", 15, 4.0
_CERTIFICATE_EVERY_S = 30.0
_RENEWALS = 10  # of the floors' Lease in its duration
_LONGEST_PAUSE_S = 60.0
_SWITCH_S = 0.0005  # a review is a dozen turns of the interpreter's lock, each of which may wait so long for a round


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """How the operator runs."""

    namespace: str
    port: int = 9443
    status_port: int = 8080
    prometheus: str = ""  # its URL; empty: pods are read directly
    repository: Path | None = None
    ttl_s: float = TTL_S
    round_s: float = ROUND_S


class Clock:
    """Seconds since 1970 that never jump: the machine's clock once, at the start, and what has passed since."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        return self._offset_s + time.monotonic()


class Operator:
    """Everything of one replica."""

    def __init__(self, cluster: Cluster, settings: OperatorSettings) -> None:
        self._cluster, self._settings, self._clock = cluster, settings, Clock()
        self.leads, self._serving, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._identity = f"{socket.gethostname()}-{random.randrange(16**6):06x}"
        self._planner = Planner()
        self._learns = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._world = World(cluster, self._planner, own_namespace=settings.namespace, repository=settings.repository,
                            leads=self.leads)  # fmt: skip
        lease = functools.partial(Lease, cluster, namespace=settings.namespace, identity=self._identity)
        self._lease = lease(name=LEADER_LEASE, duration_s=_LEASE_S)
        self._floors = lease(name=FLOORS_LEASE, duration_s=round(settings.ttl_s))
        self._loop, self._learner = self._new_loop()
        self._figures = Figures(self._gauges)

    def run(self) -> None:
        """Until SIGTERM."""
        files = CertificateFiles()
        serve_status(self._settings.status_port, self._figures, lambda: self._serving.is_set() and self._world.ready())
        self._world.start()
        for work in (self._stay_leader, self._run_loop):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()
        while not self._certify(files):
            time.sleep(1.0)
        admission = Admission(
            self._planner, self._world.models, self._world.facts, in_force=self._world.in_force,
            own=f"system:serviceaccount:{self._settings.namespace}:{DEPLOYMENT}",
        )  # fmt: skip
        server = https_server(App(admission, self._figures), "0.0.0.0", self._settings.port, files)
        server.config.load()
        renew = functools.partial(self._stay_certified, files, server.config.ssl)
        for work in (renew, self._settle):
            threading.Thread(target=work, name="certificate" if work is renew else "settle", daemon=True).start()
        self._serving.set()
        signal.signal(signal.SIGTERM, lambda number, frame: None)  # the server raises it once more after it has ended
        server.run()
        self._end()

    # ---------------------------------------------------------------------------------------------------- threads

    def _stay_leader(self) -> None:
        held_at = 0.0
        while not self._ended.is_set():
            try:
                held = self._lease.hold()
            except KserveExtError as error:
                log.warning("leader: %s", error)
                held = self.leads.is_set() and time.monotonic() - held_at < _LEASE_S - _HOLD_EVERY_S
            else:
                held_at = time.monotonic() if held else held_at
            self._lead(held)
            self._ended.wait(_HOLD_EVERY_S * random.uniform(0.8, 1.0))

    def _lead(self, held: bool) -> None:
        if held == self.leads.is_set():
            return
        log.info("%s %s the operator's Lease", self._identity, "holds" if held else "has lost")
        if held:
            self._loop, self._learner = self._new_loop()
            self.leads.set()
            self._world.look_at_all()
        else:
            self.leads.clear()

    def _run_loop(self) -> None:
        pause_s, renewed_at = self._settings.round_s, float("-inf")
        while not self._ended.wait(pause_s * random.uniform(0.95, 1.05)):
            if not (self.leads.is_set() and self._world.complete()):
                continue
            try:
                self._loop.round(self._clock.now_s())
                self._learner.round(self._clock.now_s())
                if time.monotonic() - renewed_at >= self._settings.ttl_s / _RENEWALS:
                    self._floors.renew()
                    renewed_at = time.monotonic()
                pause_s = self._settings.round_s
            except Exception as error:  # the top of the loop: the next round may find what this one did not
                if not isinstance(error, KserveExtError):
                    log.exception("a round failed")
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
                log.warning("%s; the next round in %.0f s", error, pause_s)

    def _certify(self, files: CertificateFiles) -> bool:
        """Have the certificate at hand, and trusted; only the leader makes one."""
        try:
            if self.leads.is_set():
                found = renewed(
                    self._cluster, self._settings.namespace, SERVICE_NAME, datetime.datetime.now(datetime.UTC)
                )
                trust(self._cluster, CONFIGURATION, found.authorities)
            elif (kept := read_certificate(self._cluster, self._settings.namespace)) is not None:
                found = kept
            else:
                return False
        except KserveExtError as error:
            log.warning("certificate: %s", error)
            return False
        files.write(found)
        return True

    def _settle(self) -> None:
        """Reviews must not wait for the loop's thread, nor for the collector: a look at all that is kept takes it 90 ms."""
        sys.setswitchinterval(_SWITCH_S)
        while not (self._world.complete() or self._ended.wait(1.0)):
            pass
        gc.collect()
        gc.freeze()

    def _stay_certified(self, files: CertificateFiles, context: Any) -> None:
        while not self._ended.wait(_CERTIFICATE_EVERY_S):
            if self._certify(files):
                context.load_cert_chain(files.certificate, files.key)

    def _end(self) -> None:
        """Hand the Lease over. Where the operator is being uninstalled, its floors go with it."""
        self._ended.set()
        try:
            if self.leads.is_set():
                self.leads.clear()
                if self._is_uninstalled():
                    remove_all(self._cluster)
                self._lease.release()
        except KserveExtError as error:
            log.warning("%s", error)
        self._planner.close()
        self._learns.shutdown(wait=False, cancel_futures=True)

    def _is_uninstalled(self) -> bool:
        ref = Ref(api_version="apps/v1", kind="Deployment", namespace=self._settings.namespace, name=DEPLOYMENT)
        found = self._cluster.get(ref)
        return found is None or bool(found["metadata"].get("deletionTimestamp"))

    # ------------------------------------------------------------------------------------------------------ parts

    def _new_loop(self) -> tuple[Loop, Learner]:
        settings, say = self._settings, Events(self._cluster).say
        source: Source = Prometheus(settings.prometheus) if settings.prometheus else Scraper()
        loop = Loop(
            cluster=self._cluster, objects=self._world, source=source, learn=self._learn, say=say,
            wake=_in_background(_get), own_namespace=settings.namespace, ttl_s=settings.ttl_s,
        )  # fmt: skip
        learner = Learner(
            cluster=self._cluster, objects=self._world, loop=loop, planner=self._planner, reader=ExecutionReader(), say=say,
        )  # fmt: skip
        return loop, learner

    def _learn(
        self, settings: FloorSettings, begin_s: float, counts: tuple[int, ...], bin_s: int
    ) -> Future[ScalerState]:
        return self._learns.submit(learn, settings, begin_s, counts, bin_s)

    def _gauges(self) -> Mapping[str, float]:
        loop = self._loop
        floors = [one for one in loop.services.values() if one.raised_s is not None]
        return {
            "kserve_ext_leader": float(self.leads.is_set()),
            "kserve_ext_services": float(len(loop.services)),
            "kserve_ext_floors": float(len(floors)),
            "kserve_ext_floor_patches_total": float(loop.patches),
            "kserve_ext_rounds_total": float(loop.rounds),
            "kserve_ext_rounds_cpu_seconds_total": loop.busy_s,
            "kserve_ext_blind": float(loop.blind_since_s is not None),
            "kserve_ext_replans_total": float(self._learner.replans),
            "kserve_ext_replans_proposed": float(self._learner.proposed),
        } | {
            f'kserve_ext_times_as_profiled{{namespace="{namespace}",service="{name}",model="{model}"}}': level
            for (namespace, name), model, level in self._learner.levels()
        } | {
            forecast_series(*key): rate_rps for key, rate_rps in loop.forecasts(self._clock.now_s()).items()
        }  # fmt: skip


def own_namespace() -> str:
    """The namespace of this pod."""
    path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    return path.read_text().strip() if path.exists() else os.environ.get("POD_NAMESPACE", "kserve-ext")


def _in_background(work: Callable[[str], None]) -> Callable[[str], None]:
    def begin(url: str) -> None:
        threading.Thread(target=work, args=(url,), name="wake", daemon=True).start()

    return begin


def _get(url: str) -> None:
    """One request that wakes a service; what it answers does not matter."""
    try:
        timeouts = {"connect": 5.0, "read": 60.0, "write": 5.0, "pool": 5.0}
        httpcore2.request("GET", url, extensions={"timeout": timeouts})
    except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as error:
        log.info("%s: %s", url, error)
