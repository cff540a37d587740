"""A Triton service under load: batches form, replicas come as predicted and go, 503 beyond the limit, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from e2e import played, support
from e2e.product import Product, made_namespace
from e2e.support import Cluster
from kserve_ext.bench.arrivals import constant
from kserve_ext.bench.loop import run_open_loop
from kserve_ext.simulate.kpa.path import queue_depth
from kserve_ext.simulate.path import Ending, serve_path
from kserve_ext.simulate.scalers.kpa import from_plan

SELECTOR = "serving.kserve.io/inferenceservice="
SHORT = replace(played.SCALING, min_replicas=0, max_replicas=3, window_s=20, target=4)
RATE_RPS, LOAD_S = 10.0, 40.0
REPLICAS_OFF = 1  # how far the replicas at the end may be from the simulated ones, one decision being one replica


@pytest.fixture(scope="module")
def product(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A namespace with the model that waits, and the service `slow`, which may go to zero."""
    with made_namespace(cluster, "under-load") as namespace, played.slow_models(cluster, namespace):
        cluster.apply(played.service("slow", SHORT), namespace)
        cluster.wait_ready("isvc", "slow", namespace, seconds=240)
        yield Product(cluster=cluster, namespace=namespace, folder=tmp_path_factory.mktemp("under-load"))


def pods(product: Product, name: str) -> int:
    return len(product.cluster.pods(product.namespace, SELECTOR + name))


def wake(product: Product, name: str) -> None:
    """One request, which waits for a replica if there is none."""
    target = played.target_of(product.cluster, name, product.namespace)
    result = run_open_loop(target, played.requests_to(target)[:1], np.zeros(1), drain_s=90)
    assert result.ok.all(), result.errors


def revision_of(product: Product, name: str) -> str:
    (found,) = product.cluster.list("revisions", product.namespace, SELECTOR + name)
    return str(found["metadata"]["name"])


def test_batches_form_under_load_and_replicas_grow_to_what_the_simulator_says(product: Product) -> None:
    cluster, namespace = product.cluster, product.namespace
    wake(product, "slow")
    support.poll("one replica is left", lambda: pods(product, "slow") == 1, seconds=90)
    revision = revision_of(product, "slow")
    measured = played.measure(cluster, "slow", namespace, revision, SHORT)
    wake(product, "slow")
    before = played.server_statistics(cluster, "slow", namespace)
    due_s = constant(RATE_RPS, LOAD_S)

    result, watch, began_s = played.play(cluster, "slow", namespace, revision, due_s)
    (at_the_end,) = watch.wanted_at(np.array([began_s + LOAD_S]))
    said = played.simulate(due_s, measured, int(LOAD_S), SHORT)

    assert result.ok.all(), result.errors
    assert at_the_end > 1
    assert abs(at_the_end - said.wanted_at(SHORT.window_s + LOAD_S)) <= REPLICAS_OFF
    after = played.server_statistics(cluster, "slow", namespace)  # of one replica: whichever answers
    rows, executions = after.inference_count, after.execution_count
    if rows > before.inference_count:  # the one that was there before
        rows, executions = rows - before.inference_count, executions - before.execution_count
    assert rows / executions > 1


def test_an_idle_service_goes_to_zero_and_comes_back_for_a_request(product: Product) -> None:
    support.poll("no replica is left", lambda: not pods(product, "slow"), seconds=180, every=1)
    wake(product, "slow")
    assert pods(product, "slow") >= 1


@pytest.fixture(scope="module")
def strict(product: Product) -> str:
    """A service of one replica, one request at a time, that the ingress sends to without an activator."""
    one = replace(played.SCALING, min_replicas=1, max_replicas=1, target=1, target_burst_capacity=0)
    product.cluster.apply(played.service("strict", one, limit=1), product.namespace)
    product.cluster.wait_ready("isvc", "strict", product.namespace, seconds=240)
    return "strict"


def test_a_burst_is_refused_beyond_the_limit_and_a_queue_of_ten_times_as_many(product: Product, strict: str) -> None:
    name = revision_of(product, strict)
    kind = "serverlessservices.networking.internal.knative.dev"

    def direct() -> bool:
        return bool(product.kind(kind, name)["spec"]["mode"] == "Serve")

    support.poll("no activator is in the path", direct, seconds=120)
    places = 1 + (queue_depth(1) or 0)
    burst = np.zeros(places + 9)
    target = played.target_of(product.cluster, strict, product.namespace)

    def refused() -> int | None:
        """How many of a burst got 503; the ingress may be a moment behind, and then an activator queues them all."""
        result = run_open_loop(target, played.requests_to(target), burst, drain_s=30)
        assert set(result.errors) <= {"HTTP 503"}, result.errors
        return result.errors.get("HTTP 503", 0) or None

    seen = support.poll("the ingress sends straight to the replica", refused, seconds=90)
    said = serve_path(burst, 1, 1, stages=[played.stage_of(played.law_of([each for _, each in played.CURVE]))])
    assert seen == said.rejected == burst.size - places
    assert set(said.endings.tolist()) == {Ending.ANSWERED, Ending.REFUSED}


@pytest.mark.parametrize(
    ("slo", "outcome", "code"), [("20s", "held", 0), ("190ms", "missed", 1)], ids=["20 s", "190 ms"]
)
def test_verify_says_whether_the_service_holds_its_slo(product: Product, slo: str, outcome: str, code: int) -> None:
    # No answer comes in less than the 200 ms of the model; queues while replicas start take seconds.
    samples = str(played.REPOSITORY / played.MODEL / "samples.json")
    found: Any = product.json(
        "verify", "--isvc", "slow", "--via", f"http://{product.cluster.ingress}", "--model", played.MODEL,
        "--slo-p99", slo, "--rate", "16rps", "--duration", "36s", "--samples", samples, code=code,
    )  # fmt: skip
    assert found["outcome"] == outcome
    assert found["replicas"] >= 1
    assert found["measurement"]["failed"] == 0
    assert found["measurement"]["p50_s"] > played.CURVE[0][1]  # no answer is faster than the model


def test_the_autoscaler_of_the_cluster_is_the_simulated_one(product: Product) -> None:
    """What the simulator takes for the settings is what the PodAutoscaler carries."""
    config = from_plan(SHORT, played.LIMIT).config
    found = product.kind("podautoscalers.autoscaling.internal.knative.dev", revision_of(product, "slow"))
    prefix, carried = "autoscaling.knative.dev/", found["metadata"]["annotations"]
    share = float(carried[f"{prefix}target-utilization-percentage"]) / 100
    assert min(float(carried[f"{prefix}target"]), found["spec"]["containerConcurrency"]) * share == config.target
    assert carried[f"{prefix}window"] == f"{config.stable_window_s:g}s"
    assert float(carried[f"{prefix}target-burst-capacity"]) == config.target_burst_capacity
