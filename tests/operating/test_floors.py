from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.observe.exposition import queue_proxy_reading, triton_reading
from kserve_ext.observe.readings import Reading, increase, late_of
from kserve_ext.operator.floors import MIN_SCALE, Target, change, needs_waking, raised, target_of
from kserve_ext.operator.kept import start_s
from kserve_ext.operator.records import history_configmap, history_name, read_history
from kserve_ext.policy.forecast.history import append, empty


def revision(name: str = "a-00001", **annotations: str) -> dict[str, Any]:
    found = {f"autoscaling.knative.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"metadata": {"namespace": "team", "name": name, "annotations": found}, "status": {"conditions": []}}


def service(latest: str = "a-00001", **shares: int) -> dict[str, Any]:
    traffic = [{"revisionName": name.replace("_", "-"), "percent": share} for name, share in shares.items()]
    status = {"latestReadyRevision": latest, "traffic": traffic}
    return {"metadata": {"namespace": "team", "name": "a"}, "status": {"components": {"predictor": status}}}


def target(**changed: Any) -> Target:
    values: dict[str, Any] = {"namespace": "team", "revision": "a-00001", "base": 1, "most": 4, "ready": 1, "desired": 1,
                              "unschedulable": False}  # fmt: skip
    return Target(**{**values, **changed})


def merged(found: dict[str, Any], patch: dict[str, Any] | None) -> dict[str, Any]:
    notes = dict(found["metadata"]["annotations"])
    for key, value in (patch or {"metadata": {"annotations": {}}})["metadata"]["annotations"].items():
        notes.pop(key, None)
        if value is not None:
            notes[key] = value
    return {**found, "metadata": {**found["metadata"], "annotations": notes}}


@given(base=st.sampled_from(["", "0", "1", "3"]), floors=st.lists(st.integers(4, 9), min_size=1, max_size=5))
def test_whatever_floors_came_a_revision_gets_back_what_it_had(base: str, floors: list[int]) -> None:
    before = revision(**({"min_scale": base} if base else {}))
    found = before
    for floor in floors:
        found = merged(found, change(found, floor))
        assert found["metadata"]["annotations"][MIN_SCALE] == str(floor)
        assert change(found, floor) is None
    after = merged(found, change(found, None))
    assert after == before
    assert change(after, None) is None


@given(floor=st.integers(0, 50), base=st.integers(0, 5), most=st.none() | st.integers(5, 20))
def test_a_floor_only_adds_and_stays_within_max_scale(floor: int, base: int, most: int | None) -> None:
    scale = raised(target(base=base, most=most), floor)
    assert scale is None or (base < scale <= floor and (most is None or scale <= most))


def test_a_floor_is_not_raised_where_no_pod_can_be_placed() -> None:
    assert raised(target(unschedulable=True, ready=0), 3) is None
    assert raised(target(unschedulable=True, ready=1), 3) == 3


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (service(latest=""), "no Revision is ready"),
        (service(a_00001=20, a_00000=80), "traffic is split between a-00000, a-00001"),
    ],
    ids=["nothing ready", "canary"],
)
def test_no_floor_without_one_live_revision(found: dict[str, Any], why: str) -> None:
    assert target_of(found, revision(), None) == why


def test_no_floor_where_another_autoscaler_scales() -> None:
    other = revision(**{"class": "hpa.autoscaling.knative.dev"})
    assert target_of(service(a_00001=100), other, None) == "Revision a-00001 is not scaled by Knative's pod autoscaler"


def test_the_base_is_what_it_was_before_the_floor() -> None:
    floored = revision(min_scale="4", kserve_ext_base="1", max_scale="6")
    found = target_of(service(a_00001=100), floored, {"status": {"actualScale": 4, "desiredScale": 4}})
    assert isinstance(found, Target)
    assert (found.base, found.most, found.ready, found.desired) == (1, 6, 4, 4)


def test_an_autoscaler_that_has_decided_nothing_is_woken_after_a_while() -> None:
    asleep = target(ready=0, desired=-1)
    assert not needs_waking(asleep, 2, 5.0)
    assert needs_waking(asleep, 2, 25.0)
    assert not needs_waking(target(ready=0, desired=2), 2, 25.0)
    assert not needs_waking(asleep, None, 25.0)


def test_counters_that_were_restarted_and_pods_that_are_new_count_whole() -> None:
    before = {"a": Reading(requests=100.0), "gone": Reading(requests=50.0)}
    after = {"a": Reading(requests=30.0), "new": Reading(requests=7.0, waiting=2.0)}
    found = increase(before, after, 0.1)
    assert (found.requests, found.late, found.waiting) == (37.0, None, 2.0)


def test_late_requests_are_told_from_the_buckets_around_the_slo() -> None:
    buckets = ((0.05, 60.0), (0.1, 80.0), (float("inf"), 100.0))
    assert late_of(buckets, 0.1) == 20.0
    assert late_of(buckets, 0.075) == 30.0
    assert late_of(buckets, 5.0) == 20.0
    assert late_of((), 0.1) == 0.0


QUEUE_PROXY = """# TYPE kn_serving_invocation_duration_seconds histogram
kn_serving_invocation_duration_seconds_bucket{http_response_status_code="200",le="0.05"} 3
kn_serving_invocation_duration_seconds_bucket{http_response_status_code="200",le="+Inf"} 4
kn_serving_invocation_duration_seconds_count{http_response_status_code="200"} 4
kn_serving_queue_depth 2
"""


def test_queue_proxys_counters_are_read() -> None:
    assert queue_proxy_reading(QUEUE_PROXY) == Reading(
        requests=4.0, buckets=((0.05, 3.0), (float("inf"), 4.0)), waiting=2.0
    )
    assert queue_proxy_reading("nothing of this kind 1\n") is None


def test_of_an_ensemble_the_busiest_model_counts() -> None:
    text = (
        'nv_inference_request_success{model="a",version="1"} 5\nnv_inference_request_success{model="b",version="1"} 9\n'
    )
    assert triton_reading(text) == Reading(requests=9.0)
    assert triton_reading("up 1\n") is None


def test_a_history_comes_back_as_it_was_and_without_a_future() -> None:
    history, _ = append(empty(60, 20_160), 6000.0, [3, 0, 70_000, 5], 60)
    kept = history_configmap("own", "team", "a", history)
    assert read_history(kept, 6240.0) == (6000.0, 60, (3, 0, 70_000, 5))
    assert read_history(kept, 6125.0) == (6000.0, 60, (3, 0))
    assert read_history(kept, 5000.0) is None
    assert read_history({"data": {}}, 6240.0) is None
    assert read_history({**kept, "binaryData": {"counts": "garbage"}}, 6240.0) is None


def test_histories_of_names_that_read_alike_are_two() -> None:
    assert history_name("a-b", "c") != history_name("a", "b-c")
    assert len(history_name("n" * 63, "m" * 200)) <= 253


def pod(made: str = "2026-01-01T00:00:00Z", ready: str = "2026-01-01T00:00:12Z", restarts: int = 0) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": ready}
    status = {"conditions": [condition], "containerStatuses": [{"restartCount": restarts}]}
    return {"metadata": {"name": "p", "creationTimestamp": made}, "status": status}


@pytest.mark.parametrize(
    ("found", "took_s"),
    [
        (pod(), 12.0),
        (pod(restarts=1), None),
        (pod(ready="2026-01-01T09:00:00Z"), None),
        (pod(ready="2025-12-31T23:59:59Z"), None),
        ({"metadata": {}, "status": {}}, None),
    ],
    ids=["first time", "restarted", "ready again after hours", "clocks apart", "not ready"],
)
def test_a_start_up_counts_from_made_to_ready_for_the_first_time(found: dict[str, Any], took_s: float | None) -> None:
    assert start_s(found) == took_s
