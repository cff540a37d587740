"""The operator's price: services that one core carries, admission at 50 applies a second, memory over 10,000 of them.

The whole operator runs as a process against a made-up API server that keeps 500 services and tells what happens to them, so
that what is counted is all that the operator does: watches, rounds, patches, histories, leases. Meanwhile reviews come over
HTTPS as the API server sends them, one for each webhook of an apply, at their own time whatever the last one took. Beside it
kopf with our handlers and the same watches, and nothing else.

On the cluster of `make cluster`, where there is one: a pattern of six minutes through two services, with the floor and without,
and the same in the simulator. Figures go to out/bench/operator.json.

    python -m benchmarks.bench_operator [--part process|cluster] [--days 2]
"""

from __future__ import annotations

import argparse
import base64
import datetime
import gc
import http.client
import json
import multiprocessing
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import OUT, Figure, median_figure, publish
from benchmarks.serving.peers import installed
from benchmarks.watched_api import Door, WatchedApi, serving
from benchmarks.watched_fleet import OWN, ROOT, Fleet, as_planned, kubeconfig, manifest
from kserve_ext.operator.certificates import issue
from kserve_ext.operator.main import CONFIGURATION, SERVICE_NAME
from kserve_ext.operator.server import CertificateFiles

APPLIES_RPS, SECONDS, ADMISSIONS, ROUNDS = 50, 15, 10_000, 3
KINDS, NAMES, CONNECTIONS = 20, 200, 16
SERVICES, EVENTS_RPS, LEARNED_S, MEASURED_S = 500, 100, 300.0, 30.0
_TICKS = os.sysconf("SC_CLK_TCK")
_KOPF = ROOT / "benchmarks/serving/scripts/kopf_operator.py"


# --------------------------------------------------------------------------------------------------- the API server


def keep_services(pipe: Any) -> None:
    """The API server's process: 500 services, and changes to them at a steady rate, as pods and autoscalers bring them."""
    api = WatchedApi()
    fleet, stored = Fleet(api), as_planned(manifest("s"))
    for index in range(SERVICES):
        fleet.add(f"s-{index}", stored, remembered_rps=500.0)
    with serving(Door(api=api, elsewhere=fleet.prometheus)) as door:
        pipe.send(door.url)
        index, due = 0, time.monotonic()
        while True:
            fleet.scaled(
                f"s-{index % SERVICES}", 1 + index // SERVICES % 3
            )  # two events: of the autoscaler and of a pod
            index, due = index + 1, due + 2 / EVENTS_RPS
            if index % SERVICES == 0:
                del api.events[:-1000]
            if pipe.poll(max(0.0, due - time.monotonic())):
                pipe.recv()
                asked = sum(one.verb not in ("watch", "list") for one in api.asked)
                pipe.send((len(fleet.floors()), asked))


@dataclass
class Served:
    """A running operator, and how its webhooks are asked."""

    process: int
    port: int
    authorities: str
    name: str  # that its certificate is for


class Scene:
    """The API server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=keep_services, args=(theirs,), daemon=True)
        self._process.start()
        self.url: str = self._pipe.recv()

    def floors_and_requests(self) -> tuple[int, int]:
        """Services with a floor; requests so far that were neither lists nor watches."""
        self._pipe.send(True)
        found: tuple[int, int] = self._pipe.recv()
        return found

    def close(self) -> None:
        self._process.kill()

    @contextmanager
    def ours(self) -> Iterator[Served]:
        """The operator as its Deployment starts it, once every service has its floor."""
        port = free_port()
        command = [sys.executable, "-m", "kserve_ext.cli.app", "operator", "run", "--namespace", OWN, "--port", str(port),
                   "--status-port", str(free_port()), "--kubeconfig", str(kubeconfig(self.folder, self.url)),
                   "--prometheus", f"{self.url}/prometheus"]  # fmt: skip
        with program(command, {}) as process:
            until = time.monotonic() + LEARNED_S
            while self.floors_and_requests()[0] < SERVICES and time.monotonic() < until:
                time.sleep(1.0)
            address = f"{self.url}/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{CONFIGURATION}"
            found = json.load(urllib.request.urlopen(address))
            authorities = base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"]).decode()
            yield Served(process=process, port=port, authorities=authorities, name=f"{SERVICE_NAME}.{OWN}.svc")

    @contextmanager
    def kopf(self, python: Path) -> Iterator[Served]:
        """kopf in an environment of its own, which finds our package behind it."""
        port, files = free_port(), CertificateFiles()
        certificate = issue(["localhost"], datetime.datetime.now(datetime.UTC))
        files.write(certificate)
        variables = {
            "TLS": str(files.certificate.parent), "PORT": str(port), "KUBECONFIG": str(kubeconfig(self.folder, self.url)),
            "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
        }  # fmt: skip
        with program(
            [str(python), "-m", "kopf", "run", "--all-namespaces", "--quiet", str(_KOPF)], variables
        ) as process:
            wait_for(port)
            time.sleep(10.0)  # it has listed everything
            yield Served(process=process, port=port, authorities=certificate.authorities, name="localhost")


@contextmanager
def program(command: list[str], variables: dict[str, str]) -> Iterator[int]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **variables}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# --------------------------------------------------------------------------------------------------------- measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one operator costs with 500 services, and how it answers meanwhile."""

    cores: float
    requests_rps: float
    took_s: list[list[float]]  # by round, ascending
    first_s: list[float]
    memory_mib: list[float]  # before many admissions, and after each quarter of them

    def at(self, share: float) -> list[float]:
        """Milliseconds within which that share was answered, by round."""
        return [1000 * took[min(len(took) - 1, int(share * len(took)))] for took in self.took_s]


def measure(scene: Scene, served: Served, admissions: int) -> Measured:
    requests = scene.floors_and_requests()[1]
    began, before_s = time.monotonic(), cpu_s(served.process)
    time.sleep(MEASURED_S)
    elapsed_s = time.monotonic() - began
    cores = (cpu_s(served.process) - before_s) / elapsed_s
    requests = scene.floors_and_requests()[1] - requests
    caller = Caller(served)
    objects = [manifest(f"s-{index}", f"{60 + index % KINDS}ms") for index in range(NAMES)]
    firsts = [caller.ask("/mutate", one) for one in objects[:KINDS]]  # each kind is planned once
    gc.collect()
    gc.freeze()  # the caller's own pauses are not the operator's
    took = [applied(caller, objects) for _ in range(ROUNDS)]
    memory = [resident_mib(served.process)]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in range(4):
            list(threads.map(lambda index: caller.ask("/mutate", objects[index % NAMES]), range(admissions // 4)))
            memory.append(resident_mib(served.process))
    return Measured(cores=cores, requests_rps=requests / elapsed_s, took_s=took, first_s=firsts, memory_mib=memory)


class Caller:
    """Connections to the webhooks, one for each thread, kept open as the API server keeps them."""

    def __init__(self, served: Served) -> None:
        self._served, self._own = served, threading.local()
        self._context = ssl.create_default_context(cadata=served.authorities)

    def ask(self, path: str, found: dict[str, Any]) -> float:
        """Seconds that one review took."""
        resource = {"group": "serving.kserve.io", "version": "v1beta1", "resource": "inferenceservices"}
        request = {
            "uid": "u",
            "operation": "CREATE",
            "object": found,
            "resource": resource,
            "userInfo": {"username": "me"},
        }
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        if not hasattr(self._own, "connection"):
            self._own.connection = self._connect()
        began = time.perf_counter()
        self._own.connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = json.loads(self._own.connection.getresponse().read())["response"]
        assert answer["allowed"], answer
        return time.perf_counter() - began

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=30)
        connection.connect()
        connection.sock = self._context.wrap_socket(connection.sock, server_hostname=self._served.name)
        return connection


def applied(caller: Caller, objects: list[dict[str, Any]]) -> list[float]:
    """Seconds from when each apply was due until both webhooks had answered, ascending."""

    def apply(index: int, due: float) -> float:
        time.sleep(max(0.0, due - time.perf_counter()))
        for path in ("/mutate", "/validate"):
            caller.ask(path, objects[index % len(objects)])
        return time.perf_counter() - due

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        begin = time.perf_counter() + 0.1
        dues = [begin + index / APPLIES_RPS for index in range(APPLIES_RPS * SECONDS)]
        return sorted(threads.map(apply, range(len(dues)), dues))


def resident_mib(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(process: int) -> float:
    """CPU that a process and its children have taken."""
    spent = 0.0
    for each in (process, *children(process)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / _TICKS
    return spent


def children(process: int) -> list[int]:
    found = [file.read_text().split() for file in Path(f"/proc/{process}/task").glob("*/children")]
    return [int(each) for part in found for each in part]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def wait_for(port: int, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


# ---------------------------------------------------------------------------------------------------------- figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("process", "cluster"), help="only this one; what the other found last stays")
    parser.add_argument("--days", type=int, default=2, help="of the pattern, six minutes each")
    given = parser.parse_args()
    found = process_figures() if given.part != "cluster" else []
    found += cluster_figures(given.days) if given.part != "process" else []
    publish("operator", [*(earlier({each.name for each in found}) if given.part else ()), *found])


def earlier(names: set[str]) -> list[Figure]:
    """What was found last and is not found anew."""
    file = OUT / "operator.json"
    known = json.loads(file.read_text()) if file.is_file() else []
    return [Figure(**each) for each in known if each["name"] not in names]


def cluster_figures(days: int) -> list[Figure]:
    """With the floor for each without, on the cluster and as the simulator says."""
    from e2e import pattern, support
    from e2e.product import made_namespace

    try:
        cluster = support.find()
    except AssertionError as error:
        print(f"the pattern on a cluster is left out: {error}", flush=True)
        return []
    support.install(cluster)
    asks = {support.OPERATED: "true"}
    with made_namespace(cluster, "pattern", asks) as namespace, pattern.slow_starts(cluster, namespace):
        outcome = pattern.play(cluster, namespace, days)
    outcome.show()
    seen, said = outcome.seen, outcome.said

    def beside(name: str, value: float, simulated: float, unit: str) -> Figure:
        return Figure(name=name, value=value, unit=unit, baseline=f"simulated {simulated:.3f}")

    return [
        beside("late_requests_ratio", outcome.late_ratio(seen), outcome.late_ratio(said), "with/without"),
        beside("replica_seconds_ratio", outcome.replica_ratio(seen), outcome.replica_ratio(said), "with/without"),
        *(beside(f"late_share_{name}", seen[name].late_share, said[name].late_share, "fraction") for name in seen),
    ]


def process_figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        try:
            python, theirs = installed("kopf"), None
            if python is not None:
                with scene.kopf(python) as served:
                    theirs = measure(scene, served, ADMISSIONS // 5)
            with scene.ours() as served:
                floors = scene.floors_and_requests()[0]
                mine = measure(scene, served, ADMISSIONS)
        finally:
            scene.close()
    return [Figure(name="services_with_a_floor", value=floors, unit="services"), *figures(mine, theirs)]


def figures(mine: Measured, theirs: Measured | None) -> list[Figure]:
    """Ours, each beside kopf's where that could be measured."""

    def one(name: str, values: list[float], unit: str, others: list[float] | None) -> Figure:
        ratio = statistics.median(values) / statistics.median(others) if others else None
        baseline = f"kopf {statistics.median(others):.4g}" if others else ""
        return median_figure(name, values, unit, baseline=baseline, ratio=ratio)

    def of(share: float) -> tuple[list[float], list[float] | None]:
        return mine.at(share), theirs.at(share) if theirs else None

    (p50, p50_kopf), (p99, p99_kopf), (longest, longest_kopf) = of(0.5), of(0.99), of(1.0)
    memory, memory_kopf = mine.memory_mib, theirs.memory_mib if theirs else None
    return [
        one("services_per_core", [SERVICES / mine.cores], "services", [SERVICES / theirs.cores] if theirs else None),
        one("requests_to_the_api_rps", [mine.requests_rps], "rps", None),
        one("admission_p50_ms", p50, "ms", p50_kopf),
        one("admission_p99_ms", p99, "ms", p99_kopf),
        one("admission_longest_ms", longest, "ms", longest_kopf),
        one("admission_first_plan_ms", [1000 * each for each in mine.first_s], "ms",
            [1000 * each for each in theirs.first_s] if theirs else None),
        one("memory_mib", memory[:1], "MiB", memory_kopf and memory_kopf[:1]),
        one("memory_after_10000_admissions_mib", memory[-1:], "MiB", None),
        one("memory_growth_last_5000_mib", [memory[-1] - memory[2]], "MiB", None),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
