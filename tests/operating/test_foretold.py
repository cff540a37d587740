"""A service in Standard mode whose scaler goes by the operator's forecast: seen by its own counters, told as a rate."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from factories import profile
from operating.asking import models, service

from kserve_ext.domain import Plan
from kserve_ext.intent.read import read_services
from kserve_ext.observe import Asked, Counted, Prometheus
from kserve_ext.operator.loop import Loop
from kserve_ext.operator.planner import Planner, named
from kserve_ext.operator.review import Asked as Wanted
from kserve_ext.operator.scaled import floor_settings, fresh
from kserve_ext.operator.services import Operated, left_over, objects_of, operated
from kserve_ext.policy.floor import Decision
from kserve_ext.render.queries import forecast_series
from kserve_ext.render.text import to_yaml

KEY = ("team", "digits")
KEDA = {"kserve-ext.dev/scaler": "keda-rps", "kserve-ext.dev/prometheus": "http://prometheus:9090"}
STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}


def asked(**annotations: str) -> tuple[dict[str, Any], Wanted, Plan]:
    """A service with more annotations, and its plan."""
    written = service(rate="50..3000rps")
    written["metadata"]["annotations"] |= STANDARD | annotations
    (read,) = read_services(to_yaml(written), "m.yaml")
    plan = named(Planner(0).ask(read, models()).result(), read.intent)
    return written, Wanted(service=read, manifest=written), plan


@pytest.mark.parametrize(
    ("annotations", "foretold"),
    [
        (KEDA, True),
        (KEDA | {"kserve-ext.dev/floor": "off"}, False),
        ({"kserve-ext.dev/scaler": "fixed"}, False),
        ({}, False),
    ],
    ids=["by requests", "switched off", "fixed", "not asked"],
)
def test_a_forecast_is_made_where_a_scaler_goes_by_it(annotations: dict[str, str], foretold: bool) -> None:
    written, wanted, plan = asked(**annotations)
    model = models().find(wanted.service.intent)
    assert operated(written, wanted, plan, model).floored is foretold


class Known:
    """The objects that the loop asks for."""

    def __init__(self, plan: Plan) -> None:
        self._one = Operated(
            plan=plan, profile=profile(), measured=profile(), digest="d", knative=False, floored=True
        )  # fmt: skip

    def operated(self) -> dict[Any, Operated]:
        return {KEY: self._one}

    def planned(self) -> dict[Any, Operated]:
        return {KEY: self._one}


def loop_of(plan: Plan, replicas: int, expires_s: float) -> Loop:
    """A loop that has decided on a floor."""
    nobody = cast(Any, None)
    loop = Loop(
        cluster=nobody,
        objects=cast(Any, Known(plan)),
        source=nobody,
        learn=nobody,
        say=nobody,
        wake=nobody,
        own_namespace="",
    )
    decided = Decision(replicas=replicas, expires_s=expires_s, forecast=None, reasons=())
    loop.services[KEY] = replace(fresh(floor_settings(plan, profile()), 0.06, 0.0, learning=False), decision=decided)
    return loop


def test_the_rate_told_is_what_the_floor_s_replicas_are_the_target_of() -> None:
    _, _, plan = asked(**KEDA)
    assert plan.horizontal is not None
    loop = loop_of(plan, replicas=3, expires_s=100.0)
    assert loop.forecasts(50.0) == {KEY: 3 * plan.horizontal.target}
    assert loop.forecasts(200.0) == {KEY: 0.0}  # a floor that nobody renewed


def test_of_a_service_that_knative_scales_no_rate_is_told() -> None:
    written = service(rate="50..3000rps")
    (read,) = read_services(to_yaml(written), "m.yaml")
    plan = named(Planner(0).ask(read, models()).result(), read.intent)
    assert loop_of(plan, replicas=3, expires_s=100.0).forecasts(50.0) == {}


def test_the_series_has_labels_of_its_own() -> None:
    assert forecast_series(*KEY) == (
        'kserve_ext_forecast_rps{inferenceservice_namespace="team",inferenceservice_name="digits"}'
    )


# ----------------------------------------------------------------------------------------------- what is applied beside


def beside(**annotations: str) -> tuple[list[str], list[str]]:
    """The kinds that the operator applies beside a service, and those that it takes away."""
    written, wanted, plan = asked(**annotations)
    written["metadata"]["uid"] = "u"
    model = models().find(wanted.service.intent)
    applied = [str(one["kind"]) for one in objects_of(written, wanted, plan, model)]
    return sorted(applied), sorted(str(ref) for ref in left_over(wanted, plan))


@pytest.mark.parametrize(
    ("annotations", "more", "less"),
    [
        (KEDA, {"ScaledObject"}, {"HorizontalPodAutoscaler digits-scaler"}),
        ({"kserve-ext.dev/scaler": "hpa"}, {"HorizontalPodAutoscaler"}, {"ScaledObject digits-scaler"}),
        (
            {"kserve-ext.dev/vertical": "recommend", "kserve-ext.dev/node-start": "4m"},
            {"VerticalPodAutoscaler", "Deployment"},
            {"HorizontalPodAutoscaler digits-scaler", "ScaledObject digits-scaler"},
        ),
    ],
    ids=["keda", "hpa", "a recommender and placeholders"],
)
def test_what_a_plan_asks_for_is_applied_and_what_another_had_is_taken_away(
    annotations: dict[str, str], more: set[str], less: set[str]
) -> None:
    applied, left = beside(**annotations)
    assert set(applied) == {"ServingRuntime", "ConfigMap"} | more
    assert less <= set(left)
    assert len(applied) - 2 + len(left) == 4


# ------------------------------------------------------------------------------------------------------- Prometheus


@pytest.fixture
def answering() -> Iterator[Callable[[Callable[[str], list[Any]]], str]]:
    """A Prometheus whose answers a function of the query gives; its URL."""
    servers: list[ThreadingHTTPServer] = []

    def begin(answer: Callable[[str], list[Any]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                (query,) = parse_qs(urlsplit(self.path).query)["query"]
                body = json.dumps({"status": "success", "data": {"result": answer(query)}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Not worth a line."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_without_a_revision_the_pods_own_counters_are_added_up(answering: Any) -> None:
    def answer(query: str) -> list[Any]:
        if not query.startswith("max by (namespace, pod)"):
            return []
        return [
            {"metric": {"namespace": "team", "pod": pod}, "value": [0, rate]}
            for pod, rate in (("a", "2"), ("b", "3"), ("x", "9"))
        ]

    source = Prometheus(answering(answer))
    wanted = {KEY: Asked(slo_s=0.1, pods=(("a", "10.0.0.1"), ("b", "10.0.0.2")), revisions=("",))}
    assert source.sample(wanted, 100.0) == {}
    assert source.sample(wanted, 110.0) == {KEY: Counted(requests=50.0)}


def test_a_history_of_pods_is_taken_where_knative_has_none(answering: Any) -> None:
    def answer(query: str) -> list[Any]:
        if "digits-predictor-[a-z0-9]+-[a-z0-9]+" not in query:
            return []
        return [{"metric": {}, "values": [[540, "30"], [600, "60"]]}]

    found = Prometheus(answering(answer)).history(KEY, Asked(slo_s=0.1), 630.0, 600.0)
    assert found == (480.0, (30, 60))
