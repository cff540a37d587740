"""Knative's own tests and runs as vectors: every one of them holds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kserve_ext.simulate.kpa import (
    Aggregation,
    Config,
    Decision,
    Metric,
    State,
    decide,
    extrapolate,
    first_decision,
    is_news,
    replay,
    sample_size,
    start,
)
from kserve_ext.simulate.kpa.delay import remember, slot_count
from kserve_ext.simulate.kpa.gofloat import round_digits
from kserve_ext.simulate.kpa.path import (
    activator_capacity,
    activator_count,
    is_admitted,
    slice_pods,
)
from kserve_ext.simulate.kpa.reconcile import Activity, Limits, Status, scale
from kserve_ext.simulate.kpa.request_stats import ActivatorStats, RequestStats
from kserve_ext.simulate.kpa.target import ClusterDefaults, initial_scale, panic_window_s, resolve_target
from kserve_ext.simulate.kpa.window import LinearWindow, WeightedWindow, smoothing_coefficient

Vector = dict[str, Any]
VECTORS: list[Vector] = json.loads(
    (Path(__file__).parents[2] / "data" / "kpa" / "kpa_vectors.json").read_text(encoding="utf-8")
)


def config_of(raw: dict[str, Any]) -> Config:
    return Config(
        target=raw["TargetValue"],
        total=raw["TotalValue"],
        target_burst_capacity=raw["TargetBurstCapacity"],
        max_scale_up_rate=raw.get("MaxScaleUpRate", 1000),
        max_scale_down_rate=raw.get("MaxScaleDownRate", 2),
        panic_threshold=raw["PanicThreshold"],
        reachable=raw.get("Reachable", True),
        activation_scale=raw.get("ActivationScale", 0),
        stable_window_s=raw.get("StableWindow", 60),
        scale_down_delay_s=raw.get("scale_down_delay_s", 0),
    )


def check_decisions(vector: Vector) -> None:
    raw = vector["config"]
    config = config_of(raw)
    state = State(
        panic_since_s=raw.get("panic_since"),
        max_panic_pods=raw.get("max_panic_pods", 0),
        delay_slots=slot_count(config.scale_down_delay_s),
    )
    for index, (row, expected) in enumerate(zip(vector["input"], vector["expected"], strict=True)):
        changed = vector.get("config_updates", {}).get(str(index))
        config = config_of(changed) if changed else config
        state, decision = decide(config, state, *row)
        panicking = int(state.panic_since_s is not None)
        assert [decision.desired, decision.excess_burst_capacity, panicking] == expected, row


def check_start(vector: Vector) -> None:
    for (ready,), (panicking, most) in zip(vector["input"], vector["expected"], strict=True):
        state = start(config_of(vector["config"]), ready, 5.0)
        assert (state.panic_since_s, state.max_panic_pods) == (5.0 if panicking else None, most)


def check_no_decision(vector: Vector) -> None:
    """Knative's test fails to read the metrics, or to count the pods: the tick is not valid."""
    no_pods = "pod_count" in vector["name"]
    config = vector["config"] | {"ScrapeTarget": "" if no_pods else "service"}
    ((_, _, *row),) = replay(config, [], [(0, None if no_pods else 1)])
    assert row == vector["expected"][0]


def check_run(vector: Vector) -> None:
    expected = vector["expected"]
    rows = replay(vector["config"], vector["input"], [(row[0], row[1]) for row in expected])
    assert [row[2:] for row in rows] == [(desired, excess, True) for *_, desired, excess in expected]
    for row, (_, _, stable, panic, _, _) in zip(rows, expected, strict=True):
        assert row[:2] == pytest.approx((stable, panic), abs=1e-6)


def check_window(vector: Vector) -> None:
    kind = LinearWindow if vector["config"]["aggregation"] == Aggregation.LINEAR else WeightedWindow
    window = kind(vector["config"]["window_s"])
    second, averages = 0, []
    for operation, number, *value in vector["input"]:
        if operation == "resize":
            window.resize(number, second)
            continue
        second = math.floor(number)
        if operation == "record":
            window.record(second, value[0])
        else:
            averages.append(window.average(second))
    assert averages == pytest.approx(vector["expected"], abs=vector["tolerance"])


def check_delay(vector: Vector) -> None:
    slots: tuple[tuple[int, int], ...] = ()
    for (slot, pods), largest in zip(vector["input"], vector["expected"], strict=True):
        slots = remember(slots, vector["config"]["buckets"], slot, pods)
        assert slots[0][1] == largest


def check_request_stats(vector: Vector) -> None:
    stats, reports = RequestStats(0.0), []
    for event, at_ms in vector["input"]:
        now_s = at_ms / 1000
        if event == "report":
            report = stats.report(now_s)
            reports.append([report.concurrency, report.proxied_concurrency, report.requests, report.proxied_requests])
        elif event.endswith("in"):
            stats.arrive(now_s, proxied=event == "pin")
        else:
            stats.leave(now_s, proxied=event == "pout")
    assert reports == [pytest.approx(row, abs=vector["tolerance"]) for row in vector["expected"]]


def check_activator_reports(vector: Vector) -> None:
    stats, reports = ActivatorStats(), []
    for event, at_ms in vector["input"]:
        now_s = at_ms / 1000
        report = None
        if event == "in":
            report = stats.arrive(now_s)
        elif event == "out":
            stats.leave(now_s)
        else:
            report = stats.report(now_s)
        if report is not None:
            reports.append([report.concurrency, report.requests])
    assert reports == [pytest.approx(row) for row in vector["expected"]]


def check_reconciler(vector: Vector) -> None:
    raw, (case,) = vector["config"], vector["input"]
    limits = Limits(
        min_scale=case.get("mn", 0),
        max_scale=case.get("mx", 0),
        initial_scale=case.get("init", 1),
        reachable=case.get("reach") != "no",
        stable_window_s=raw["stable_window_s"],
        retention_s=raw["retention_s"],
        grace_s=raw["grace_s"],
        progress_deadline_s=raw["progress_deadline_s"],
        scale_to_zero=raw.get("enable_scale_to_zero", True),
        target_burst_capacity=case.get("tbc", 211),
    )
    status = Status(
        activity=Activity(case["active"]),
        activity_since_s=-case["since"],
        initialized=case.get("initialized", True),
        replicas=case["replicas"],
        proxied_since_s=-raw["sks_proxy_for_s"],
    )
    outcome = scale(limits, status, 0.0, case["decider"], probe_ok=raw["probe_ok"])
    patched = outcome.applied and outcome.scale != status.replicas
    assert [outcome.scale, int(patched)] == vector["expected"][0]


def check_targets(vector: Vector) -> None:
    raw = vector["config"]
    for row, (target, total) in zip(vector["input"], vector["expected"], strict=True):
        metric, container_concurrency, annotation, percent, fraction, default = row
        defaults = ClusterDefaults(
            concurrency_target=default,
            concurrency_utilization=fraction,
            rps_target=raw["rps_target_default"],
            rps_utilization=raw["rps_target_utilization"],
        )
        found = resolve_target(
            Metric(metric),
            container_concurrency,
            annotation=annotation,
            utilization_percent=percent,
            defaults=defaults,
        )
        assert (found.target, found.total) == pytest.approx((target, total), abs=vector["tolerance"]), row


def check_overload(vector: Vector) -> None:
    depth, concurrency = vector["config"]["queue_depth"], vector["config"]["max_concurrency"]
    for (held,), (rejected,) in zip(vector["input"], vector["expected"], strict=True):
        in_flight = 0
        for _ in range(held):
            in_flight += is_admitted(in_flight, concurrency, depth)
        assert held - in_flight == rejected


def check_extrapolation(vector: Vector) -> None:
    assert sample_size(vector["config"]["ready_pods"]) == len(vector["input"])
    assert [extrapolate(vector["input"], vector["config"]["ready_pods"])] == vector["expected"]


def check_initial_scale(vector: Vector) -> None:
    for (annotation, allowed), (expected,) in zip(vector["input"], vector["expected"], strict=True):
        defaults = ClusterDefaults(
            initial_scale=vector["config"]["cluster_initial_scale"], allow_zero_initial_scale=allowed
        )
        assert initial_scale(annotation, defaults) == expected


def check_first_decision(vector: Vector) -> None:
    for (pods, total, burst), expected in zip(vector["input"], vector["expected"], strict=True):
        decision = first_decision(Config(total=total, target_burst_capacity=burst), pods)
        assert [decision.desired, decision.excess_burst_capacity] == expected


def check_news(vector: Vector) -> None:
    for (old, new), (same_sign,) in zip(vector["input"], vector["expected"], strict=True):
        news = is_news(Decision(desired=1, excess_burst_capacity=old), Decision(desired=1, excess_burst_capacity=new))
        assert news is not bool(same_sign)


def check_capacity(vector: Vector) -> None:
    for (limit, backends, activators, index, pods), (expected,) in zip(
        vector["input"], vector["expected"], strict=True
    ):
        assert activator_capacity(limit, backends, activators, index, pods) == expected


def check_rows(function: Callable[..., Any]) -> Callable[[Vector], None]:
    """A function of the input columns whose result is the expected row, or its only number."""

    def check(vector: Vector) -> None:
        for arguments, expected in zip(vector["input"], vector["expected"], strict=True):
            found = function(*arguments)
            row = list(found) if isinstance(found, tuple) else [found]
            assert row == pytest.approx(expected, abs=vector.get("tolerance", 0)), arguments

    return check


CHECKS: dict[str, Callable[[Vector], None]] = {
    "autoscaler_scale": check_decisions,
    "autoscaler_new": check_start,
    "autoscaler_scale_error": check_no_decision,
    "golden_run": check_run,
    "window_average": check_window,
    "smoothing_coefficient": check_rows(smoothing_coefficient),
    "round_to_n_digits": check_rows(round_digits),
    "max_window": check_delay,
    "request_stats": check_request_stats,
    "concurrency_reporter": check_activator_reports,
    "reconciler_scale": check_reconciler,
    "resolve_metric_target": check_targets,
    "panic_window": check_rows(panic_window_s),
    "initial_scale": check_initial_scale,
    "sample_size": check_rows(sample_size),
    "scrape_extrapolate": check_extrapolation,
    "num_activators": check_rows(activator_count),
    "decider_create": check_first_decision,
    "same_sign": check_news,
    "pick_indices": check_rows(slice_pods),
    "throttler_capacity": check_capacity,
    "breaker": check_overload,
}


def test_there_are_123_vectors_with_names_of_their_own() -> None:
    assert len({vector["name"] for vector in VECTORS}) == 123


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"].replace(" ", "_") for vector in VECTORS])
def test_the_vector_holds(vector: Vector) -> None:
    CHECKS[vector["kind"]](vector)
