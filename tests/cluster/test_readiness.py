"""Ready means: it serves what its present spec asks for."""

from __future__ import annotations

from typing import Any

import pytest
from cluster.objects_of_a_cluster import AUTOSCALING, deployment, knative_service, pod, service, snapshot, unschedulable

from kserve_ext.cluster.readiness import Phase, identity, judge


def test_a_service_whose_latest_revision_serves_is_ready() -> None:
    now = judge(snapshot())
    assert (now.phase, now.step) == (Phase.READY, "1 replica ready, Revision digits-predictor-00002")


def test_pods_of_a_revision_that_was_just_replaced_are_not_counted() -> None:
    old = pod("old", revision="digits-predictor-00001")
    assert judge(snapshot(pods=(pod(), old))).step.startswith("1 replica ready")


def test_zero_replicas_are_ready_too() -> None:
    assert judge(snapshot(pods=())).step.startswith("ready at zero replicas")


STALE: dict[str, tuple[dict[str, Any], str]] = {
    "no child yet": ({"knative_service": {}}, "has not made its Knative Service"),
    "the limit is the old one": (
        {"service": service(containerConcurrency=12), "knative_service": knative_service(concurrency=8)}, "containerConcurrency",
    ),
    "the scale is the old one": (
        {"service": service(minReplicas=2), "knative_service": knative_service(annotations={AUTOSCALING + "min-scale": "1"})},
        "minReplicas",
    ),
    "an annotation is the old one": (
        {"service": service(annotations={AUTOSCALING + "target": "5"})}, f"annotations[{AUTOSCALING}target]",
    ),
    "an argument is missing": (
        {"service": service(model={"args": ["--model-config-name=cpu"]}),
         "knative_service": knative_service(container={"args": ["tritonserver"]})},
        "model.args",
    ),
    "the resources are the old ones": (
        {"service": service(model={"resources": {"limits": {"cpu": "2"}}}),
         "knative_service": knative_service(container={"resources": {"limits": {"cpu": "1"}}})},
        "resources.limits.cpu",
    ),
    "Knative has not looked": ({"knative_service": knative_service(generation=4)}, "its controller has not looked yet"),
    "a new Revision starts": (
        {"knative_service": knative_service(created="digits-predictor-00003"),
         "pods": (pod(), pod("new", ready=False, revision="digits-predictor-00003"))},
        "Revision digits-predictor-00003 is not ready: 0 of 1 pod ready",
    ),
    "the route is not set up": ({"knative_service": knative_service(route="Unknown")}, "route"),
    "KServe says no": ({"service": service(ready="False")}, "Ready is not true yet"),
}  # fmt: skip


@pytest.mark.parametrize(("unlike", "said"), STALE.values(), ids=STALE)
def test_ready_of_an_earlier_generation_is_not_believed(unlike: dict[str, Any], said: str) -> None:
    now = judge(snapshot(**unlike))
    assert not now.ready
    assert said in now.step


def test_the_same_amount_in_another_unit_has_been_taken_over() -> None:
    found = snapshot(
        service=service(model={"resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}}}),
        knative_service=knative_service(container={"resources": {"limits": {"cpu": "1", "memory": "1024Mi"}}}),
    )
    assert judge(found).ready


def test_what_kserve_writes_over_or_leaves_out_is_not_waited_for() -> None:
    over = service(scaleTarget=9, annotations={AUTOSCALING + "target": "5", AUTOSCALING + "initial-scale": "0"})
    assert judge(snapshot(service=over)).ready
    left_out = snapshot(service=service(annotations={AUTOSCALING + "window": "30s"}))
    assert not judge(left_out, since_s=1.0).ready
    assert judge(left_out, since_s=90.0).ready


def test_a_change_that_leaves_no_trace_is_believed_after_a_while_only() -> None:
    found = snapshot()
    before = identity(found.child)
    assert not judge(found, since_s=0.1, child_before=before).ready
    assert judge(found, since_s=5.0, child_before=before).ready
    assert judge(found, since_s=0.1, child_before=("k1", 2)).ready  # the child has changed since


def test_traffic_that_has_not_moved_is_not_ready_unless_it_is_to_be_split() -> None:
    child = knative_service()
    child["status"]["traffic"] = [
        {"revisionName": "digits-predictor-00001", "percent": 90},
        {"revisionName": "digits-predictor-00002", "percent": 10},
    ]
    assert "traffic" in judge(snapshot(knative_service=child)).step
    assert judge(snapshot(knative_service=child, service=service(canaryTrafficPercent=10))).ready


@pytest.mark.parametrize(
    ("child", "said"),
    [
        (deployment(updated=1), "1 of 2 replicas are of the new kind"),
        (deployment(total=3), "1 replicas of the old kind"),
        (deployment(available=1), "1 of 2 replicas are available"),
    ],
)
def test_in_standard_mode_every_replica_must_be_new_and_available(child: dict[str, Any], said: str) -> None:
    standard = service(mode="Standard")
    assert said in judge(snapshot(service=standard, knative_service={}, deployment=child)).step
    assert judge(snapshot(service=standard, knative_service={}, deployment=deployment())).ready


def test_what_will_not_pass_by_itself_is_stuck() -> None:
    child = knative_service(created="digits-predictor-00002", ready="digits-predictor-00001")
    taint = unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint {gpu: only}.")
    no_room = unschedulable("0/1 nodes are available: 1 Insufficient cpu.")
    assert judge(snapshot(knative_service=child, pods=(taint,))).phase is Phase.STUCK
    assert judge(snapshot(knative_service=child, pods=(no_room,))).phase is Phase.PROGRESSING


def test_a_stopped_service_is_neither() -> None:
    stopped = service()
    stopped["status"]["conditions"].append({"type": "Stopped", "status": "True"})
    assert judge(snapshot(service=stopped, knative_service={}, pods=())).phase is Phase.STOPPED
