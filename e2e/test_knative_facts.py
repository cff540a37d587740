"""What the product takes for granted of Knative, looked at on a live cluster: floors, and panic as our model replays it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from e2e import support
from e2e.support import Cluster, Object
from kserve_ext.simulate import kpa

_MIN_SCALE = "autoscaling.knative.dev/min-scale"
_SERVICE_LABEL = "serving.kserve.io/inferenceservice"
# Answers after the time that the request asks for, as many at once as come.
_SERVER = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        time.sleep(float(self.headers.get("X-Sleep", "0")))
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def inference_service(name: str, annotations: dict[str, str], *, min_replicas: int = 0, limit: int = 4) -> Object:
    """A custom predictor that only waits."""
    container = {
        "name": "kserve-container",
        "image": "kserve-ext-triton:0.1.0",
        "command": ["python3", "-c", _SERVER],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "annotations": {"serving.kserve.io/deploymentMode": "Knative", **annotations}},
        "spec": {
            "predictor": {
                "minReplicas": min_replicas,
                "maxReplicas": 5,
                "containerConcurrency": limit,
                "containers": [container],
            }
        },
    }


@pytest.fixture
def revision(cluster: Cluster, namespace: str) -> str:
    """The only Revision of a service that may go to zero."""
    cluster.apply(inference_service("floor", {"autoscaling.knative.dev/window": "6s"}), namespace)
    cluster.wait_ready("isvc", "floor", namespace)
    return only_revision(cluster, namespace)


def only_revision(cluster: Cluster, namespace: str) -> str:
    (found,) = cluster.list("revisions", namespace)
    name: str = found["metadata"]["name"]
    return name


def set_floor(cluster: Cluster, namespace: str, revision: str, floor: int) -> None:
    cluster.patch("revision", revision, namespace, {"metadata": {"annotations": {_MIN_SCALE: str(floor)}}})


def test_a_floor_on_the_live_revision_starts_and_ends_pods_without_a_new_revision(
    cluster: Cluster, namespace: str, revision: str
) -> None:
    def ready() -> int:
        return len(cluster.ready_pods(namespace, f"{_SERVICE_LABEL}=floor"))

    support.poll("no pod is left", lambda: not cluster.pods(namespace), seconds=120)
    generation = cluster.get("isvc", "floor", namespace)["metadata"]["generation"]

    set_floor(cluster, namespace, revision, 2)
    support.poll("two pods are ready", lambda: ready() == 2, seconds=60)
    set_floor(cluster, namespace, revision, 0)
    support.poll("no pod is left", lambda: not cluster.pods(namespace), seconds=120)

    assert only_revision(cluster, namespace) == revision
    assert cluster.get("isvc", "floor", namespace)["metadata"]["generation"] == generation
    cluster.wait_ready("isvc", "floor", namespace, seconds=10)
    assert cluster.ask(support.host_of("floor", namespace), "/", b"").status == 200  # and it wakes as before


def test_a_floor_on_the_pod_autoscaler_is_taken_back(cluster: Cluster, namespace: str, revision: str) -> None:
    kind = "podautoscaler.autoscaling.internal.knative.dev"

    def floor() -> str:
        found: str = cluster.get(kind, revision, namespace)["metadata"]["annotations"].get(_MIN_SCALE, "")
        return found

    before = floor()
    cluster.patch(kind, revision, namespace, {"metadata": {"annotations": {_MIN_SCALE: "3"}}})
    support.poll("Knative takes it back", lambda: floor() == before, seconds=30)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the autoscaler says of itself after one decision."""

    at_s: float
    stable: float
    panic: float
    ready: int
    desired: int
    panicking: bool


@pytest.mark.parametrize(("threshold", "panics"), [("200", True), ("210", False)], ids=["at 200 %", "at 210 %"])
def test_one_pod_just_over_its_target_panics_at_200_percent_and_not_at_210_as_our_model_says(
    cluster: Cluster, namespace: str, threshold: str, panics: bool
) -> None:
    # 3 in flight, target 0.7 * 4 = 2.8: Knative rounds the wanted pods up before it compares, 2 of 1 are 200 %.
    annotations = {
        "autoscaling.knative.dev/window": "20s",
        "autoscaling.knative.dev/panic-window-percentage": "20",
        "autoscaling.knative.dev/panic-threshold-percentage": threshold,
        "autoscaling.knative.dev/target-utilization-percentage": "70",
    }
    cluster.apply(inference_service("panic", annotations, min_replicas=1), namespace)
    cluster.wait_ready("isvc", "panic", namespace)
    revision = only_revision(cluster, namespace)
    support.poll("one pod is ready", lambda: len(cluster.ready_pods(namespace)) == 1, seconds=60)

    with flight(cluster, support.host_of("panic", namespace), 3):
        seen = watch(cluster, namespace, revision, seconds=26)

    replayed = replay(seen, panic_threshold=float(threshold) / 100)
    print(
        "t_s stable panic ready desired ours",
        *((*row_of(one), ours) for one, ours in zip(seen, replayed, strict=True)),
        sep="\n",
    )
    assert [one.desired for one in seen] == replayed
    assert any(one.panicking for one in seen) == panics
    assert max(replayed) == 2  # the stable average gets there too, later


def row_of(one: Seen) -> tuple[float, float, float, int, int]:
    return round(one.at_s, 1), round(one.stable, 2), round(one.panic, 2), one.ready, one.desired


def replay(seen: list[Seen], *, panic_threshold: float) -> list[int]:
    """What our model decides from the same averages and ready pods."""
    config = kpa.Config(
        target=2.8, total=4, panic_threshold=panic_threshold, stable_window_s=20, panic_window_s=4, scraped=True
    )
    state, decided = kpa.start(config, seen[0].ready, seen[0].at_s), []
    for one in seen:
        state, decision = kpa.decide(config, state, one.at_s, one.ready, one.stable, one.panic)
        decided.append(decision.desired)
    return decided


def watch(cluster: Cluster, namespace: str, revision: str, *, seconds: float) -> list[Seen]:
    """Every decision of the autoscaler, from its own metrics: it decides every 2 s, and is asked more often."""
    (pod,) = cluster.ready_pods("knative-serving", "app=autoscaler")
    path = f"/api/v1/namespaces/knative-serving/pods/{pod['metadata']['name']}:9090/proxy/metrics"
    seen: list[Seen] = []
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        one = read(cluster.kubectl("get", "--raw", path), namespace, revision, time.monotonic() - start)
        if one and (
            not seen or (one.stable, one.panic, one.ready) != (seen[-1].stable, seen[-1].panic, seen[-1].ready)
        ):
            seen.append(one)
        time.sleep(0.3)
    return seen


def read(text: str, namespace: str, revision: str, at_s: float) -> Seen | None:
    """The gauges of one revision, or nothing where they are not all there yet."""

    def value(name: str) -> float:
        for line in text.splitlines():
            if line.startswith(f"kn_revision_{name}{{") and f'"{namespace}"' in line and f'"{revision}"' in line:
                return float(line.rsplit(" ", 1)[1])
        raise LookupError(name)

    try:
        return Seen(
            at_s, value("concurrency_stable"), value("concurrency_panic"), int(value("pods_count")),
            int(value("pods_desired")), value("panic_mode") > 0,
        )  # fmt: skip
    except LookupError:
        return None


@contextmanager
def flight(cluster: Cluster, host: str, count: int) -> Iterator[None]:
    """Keep this many requests in flight, each 1 s long."""
    stop = threading.Event()

    def one() -> None:
        while not stop.is_set():
            cluster.ask(host, "/", b"", headers={"X-Sleep": "1"})

    threads = [threading.Thread(target=one) for _ in range(count)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        stop.set()
        for each in threads:
            each.join()
