"""The operator's price: admission at 50 applies a second, memory over 10,000 of them, services that one core carries.

Admission runs in a process of its own, HTTPS as the API server speaks it; a review comes for each webhook of an apply, at
its own time whatever the last one took. The loop runs 500 services with a made-up API server and Prometheus in another
process, so that what is counted is the operator's own CPU. Figures go to out/bench/operator.json.
"""

from __future__ import annotations

import copy
import datetime
import http.client
import json
import multiprocessing
import resource
import ssl
import statistics
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figures import Figure, publish
from kserve_ext.cluster.api import Cluster
from kserve_ext.intent.read import read_services
from kserve_ext.observe import Prometheus
from kserve_ext.operator.admission import Admission
from kserve_ext.operator.certificates import issue
from kserve_ext.operator.figures import Figures
from kserve_ext.operator.floors import MIN_SCALE
from kserve_ext.operator.loop import Loop, learn
from kserve_ext.operator.models import Models, configmap_of, read_model
from kserve_ext.operator.planner import Planner, named
from kserve_ext.operator.server import App, CertificateFiles, https_server
from kserve_ext.operator.services import Operated
from kserve_ext.policy.floor import FloorSettings, ScalerState
from kserve_ext.render.bundle import to_yaml

ROOT = Path(__file__).parents[1]
APPLIES_RPS, SECONDS, ADMISSIONS = 50, 15, 10_000
SERVICES, ROUNDS, ROUND_S = 500, 30, 10.0
PORT, API_PORT = 18543, 18580


def model_known() -> Models:
    configmap = configmap_of(ROOT / "model_repo", "emulated")
    configmap["metadata"]["namespace"] = "team"
    return Models(known={("team", "emulated"): read_model(configmap)})


def manifest(index: int, kinds: int) -> dict[str, Any]:
    """A service of its own name; of so many kinds of SLO, as a fleet has."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "manifests/examples/emulated.yaml").read_text())
    found["metadata"] |= {"name": f"s-{index}", "namespace": "team"}
    found["metadata"]["annotations"]["kserve-ext.dev/slo-p99"] = f"{60 + index % kinds}ms"
    found["metadata"]["annotations"]["kserve-ext.dev/model"] = "emulated"
    return found


# ------------------------------------------------------------------------------------------------------- admission


def serve_admission(authority: Any) -> None:
    """The webhooks' process; hands over whom to trust, then answers for its memory when asked."""
    files, known = CertificateFiles(), model_known()
    certificate = issue(["localhost"], datetime.datetime.now(datetime.UTC))
    files.write(certificate)
    app = App(Admission(Planner(), lambda: known, lambda: None), Figures())
    server = https_server(app, "127.0.0.1", PORT, files)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    authority.send(certificate.authorities)
    while authority.recv():
        authority.send((resident_mib(), resource.getrusage(resource.RUSAGE_SELF)[:2]))


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


class Caller:
    """Connections to the webhooks, one for each thread, kept open as the API server keeps them."""

    def __init__(self, authorities: str) -> None:
        self._context, self._own = ssl.create_default_context(cadata=authorities), threading.local()

    def ask(self, path: str, found: dict[str, Any]) -> float:
        """Seconds that one review took."""
        body = json.dumps({"request": {"uid": "u", "operation": "CREATE", "object": found}})
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPSConnection("localhost", PORT, context=self._context, timeout=30)
        began = time.perf_counter()
        self._own.connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = json.loads(self._own.connection.getresponse().read())["response"]
        assert answer["allowed"], answer
        return time.perf_counter() - began


def admission_figures() -> dict[str, float]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_admission, args=(theirs,), daemon=False)
    process.start()
    caller = Caller(ours.recv())
    kinds = 20
    objects = [manifest(index, kinds) for index in range(200)]
    firsts = [caller.ask("/mutate", one) for one in objects[:kinds]]  # each kind is planned once

    def apply(index: int, due: float) -> float:
        time.sleep(max(0.0, due - time.perf_counter()))
        found = objects[index % len(objects)]
        for path in ("/mutate", "/validate"):
            caller.ask(path, found)
        return time.perf_counter() - due

    with ThreadPoolExecutor(16) as threads:
        begin = time.perf_counter() + 0.1
        dues = [begin + index / APPLIES_RPS for index in range(APPLIES_RPS * SECONDS)]
        took = sorted(threads.map(apply, range(len(dues)), dues))
        memory = [ask_memory(ours)]
        for _ in range(4):
            list(threads.map(lambda index: caller.ask("/mutate", objects[index % 200]), range(ADMISSIONS // 4)))
            memory.append(ask_memory(ours))
    ours.send(False)
    process.kill()
    return {
        "admission_p50_ms": 1000 * took[len(took) // 2],
        "admission_p99_ms": 1000 * took[int(0.99 * len(took))],
        "admission_first_plan_ms": 1000 * statistics.median(firsts),
        "memory_before_mib": memory[0],
        "memory_after_10000_admissions_mib": memory[-1],
        "memory_growth_last_5000_mib": memory[-1] - memory[2],
    }


def ask_memory(pipe: Any) -> float:
    pipe.send(True)
    mib: float = pipe.recv()[0]
    return mib


# ------------------------------------------------------------------------------------------------------------- loop


def serve_api() -> None:
    """A made-up API server that takes every patch, and a Prometheus whose counters follow a wave."""
    kinds = {"v1": [("configmaps", "ConfigMap")], "serving.knative.dev/v1": [("revisions", "Revision")]}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet, or each answer waits for an acknowledgement

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            path = self.path.partition("?")[0]
            for version, listed in kinds.items():
                if path in (f"/api/{version}", f"/apis/{version}"):
                    found: Any = {
                        "resources": [{"name": name, "kind": kind, "namespaced": True} for name, kind in listed]
                    }
                    return self.say(200, found)
            if path.endswith("/query"):
                return self.say(200, vector(self.path))
            if path.endswith("/query_range"):
                return self.say(200, {"status": "success", "data": {"result": []}})
            return self.say(200, json.loads(body or "{}")) if self.command == "PATCH" else self.say(404, {})

        def say(self, status: int, found: Any) -> None:
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    ThreadingHTTPServer(("127.0.0.1", API_PORT), Handler).serve_forever()


def vector(path: str) -> dict[str, Any]:
    bounds = ("0.05", "0.1", "+Inf") if "_bucket" in path else ("",)
    result = [
        {"metric": {"k8s_namespace_name": "team", "kn_revision_name": f"s-{index}-00001", "le": bound},
         "value": [0, str(300 + index % 200)]}
        for index in range(SERVICES) for bound in bounds
    ]  # fmt: skip
    return {"status": "success", "data": {"result": result}}


class Known:
    """500 services as the watches would know them."""

    def __init__(self) -> None:
        models, planner = model_known(), Planner(0)
        (service,) = read_services(to_yaml(manifest(0, 1)), "m.yaml")
        model = models.find(service.intent)
        plan = named(planner.ask(service, models).result(), service.intent)
        one = Operated(plan=plan, profile=model.profiles[plan.hardware], digest="d", floored=True)
        names = [f"s-{index}" for index in range(SERVICES)]
        self._operated = {("team", name): one for name in names}
        self._services = {("team", name): _service(name) for name in names}
        self._revisions = {("team", f"{name}-00001"): _revision(f"{name}-00001") for name in names}

    def operated(self) -> Mapping[Any, Operated]:
        return self._operated

    def service(self, key: Any) -> Any:
        return self._services.get(key)

    def revision(self, namespace: str, name: str) -> Any:
        return self._revisions.get((namespace, name))

    def revisions(self) -> tuple[Any, ...]:
        return tuple(self._revisions.values())

    def autoscaler(self, namespace: str, name: str) -> Any:
        return {"status": {"actualScale": 2, "desiredScale": 2}}

    def pods_by_service(self) -> Mapping[Any, Any]:
        return {}


def _service(name: str) -> dict[str, Any]:
    status = {"latestReadyRevision": f"{name}-00001", "traffic": [{"revisionName": f"{name}-00001", "percent": 100}]}
    return {"metadata": {"namespace": "team", "name": name}, "status": {"components": {"predictor": status}}}


def _revision(name: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "team", "name": name, "annotations": {MIN_SCALE: "1"}},
        "status": {"conditions": []},
    }


def loop_figures() -> dict[str, float]:
    import kubernetes

    api = multiprocessing.get_context("spawn").Process(target=serve_api, daemon=True)
    api.start()
    configuration = kubernetes.client.Configuration(host=f"http://127.0.0.1:{API_PORT}")
    cluster = Cluster(kubernetes.client.ApiClient(configuration), name="made-up", namespace="team")

    learned: list[
        ScalerState
    ] = []  # all services have one past: it is learned once, and a restart's learning not counted

    def learning(settings: FloorSettings, begin_s: float, counts: tuple[int, ...], bin_s: int) -> Future[ScalerState]:
        if not learned:
            learned.append(learn(settings, begin_s, counts, bin_s))
        done: Future[ScalerState] = Future()
        done.set_result(copy.copy(learned[0]))
        return done

    known = Known()
    loop = Loop(cluster=cluster, objects=known, source=_Remembering(f"http://127.0.0.1:{API_PORT}"), learn=learning,
                say=lambda service, reason, text: None, wake=lambda url: None, own_namespace="own")  # fmt: skip
    time.sleep(1.0)
    now_s = 1_700_000_000.0
    loop.round(now_s)
    spent = []
    for index in range(1, ROUNDS + 1):
        began = time.process_time()
        loop.round(now_s + index * ROUND_S)
        spent.append(time.process_time() - began)
    api.kill()
    mean_s = statistics.fmean(spent)
    return {"round_cpu_ms": 1000 * mean_s, "round_cpu_most_ms": 1000 * max(spent), "floor_patches": float(loop.patches),
            "services_per_core": SERVICES * ROUND_S / mean_s}  # fmt: skip


class _Remembering(Prometheus):
    """A day of traffic is remembered, so that every service forecasts from the first round on."""

    def history(self, key: Any, asked: Any, now_s: float, seconds: float) -> tuple[float, tuple[int, ...]]:
        end_s = now_s // 60 * 60
        return end_s - 86_400.0, tuple(18_000 + 6_000 * (minute // 180 % 2) for minute in range(1440))


UNITS = {"ms": "ms", "mib": "MiB"}


def main() -> None:
    figures = {**admission_figures(), **loop_figures()}
    publish(
        "operator",
        [
            Figure(name=name, value=value, unit=UNITS.get(name.rpartition("_")[2], ""))
            for name, value in figures.items()
        ],
    )


if __name__ == "__main__":
    main()
