"""What an earlier bundle had and the next one has not: what goes, when, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from cluster import objects_of_a_cluster as live
from cluster.test_bundles_applied import isvc, other
from cluster.tiny_api import TinyApi

from kserve_ext.cluster import Cluster, DryRun, Unit, apply, preview, read_bundles, units_of
from kserve_ext.cluster.difference import Action
from kserve_ext.cluster.history import next_entry
from kserve_ext.cluster.pruning import is_ours, left_behind
from kserve_ext.cluster.undoing import confirm_newest, rollback
from kserve_ext.errors import RejectedError

STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}
SERVICE = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/digits"
DEPLOYMENT = "/apis/apps/v1/namespaces/models/deployments/digits-predictor"
RULES = "/api/v1/namespaces/models/configmaps/digits-rules"


def unit(*more: dict[str, Any], name: str = "digits") -> Unit:
    """A service with its runtime, and whatever else its bundle has."""
    (found,) = units_of(
        [isvc(name, annotations=STANDARD), other("ServingRuntime", f"{name}-triton"), *more], namespace="models"
    )
    return found


RULED = unit(other("ConfigMap", "digits-rules"))
PLAIN = unit()


def make_ready(api: TinyApi) -> None:
    """Do KServe's part: what has been applied serves."""
    api.objects[SERVICE]["status"] = live.service(mode="Standard")["status"]
    api.objects[DEPLOYMENT] = live.deployment()


def pruned(cluster: Cluster, wanted: Unit, how: DryRun = DryRun.SERVER) -> list[str]:
    return [str(diff.ref) for diff in preview(cluster, wanted, dry_run=how).pruned]


def test_what_the_next_bundle_has_not_is_shown_and_goes_once_the_service_is_ready(
    api: TinyApi, cluster: Cluster
) -> None:
    apply(cluster, preview(cluster, RULED), timeout_s=None)
    seen = preview(cluster, PLAIN)
    assert [(str(diff.ref), diff.action) for diff in seen.pruned] == [("ConfigMap digits-rules", Action.DELETE)]
    assert seen.differs
    assert RULES in api.objects
    make_ready(api)
    receipt = apply(cluster, seen, timeout_s=5)
    assert RULES not in api.objects
    assert [str(diff.ref) for diff in receipt.diffs if diff.action is Action.DELETE] == ["ConfigMap digits-rules"]
    assert not preview(cluster, PLAIN).pruned


@pytest.mark.parametrize("how", DryRun)
def test_a_dry_run_shows_it_and_deletes_nothing(api: TinyApi, cluster: Cluster, how: DryRun) -> None:
    apply(cluster, preview(cluster, RULED), timeout_s=None)
    assert pruned(cluster, PLAIN, how) == ["ConfigMap digits-rules"]
    assert RULES in api.objects


def test_nothing_goes_where_nobody_waits_and_the_next_apply_that_does_makes_up_for_it(
    api: TinyApi, cluster: Cluster
) -> None:
    said: list[str] = []
    apply(cluster, preview(cluster, RULED), timeout_s=None)
    apply(cluster, preview(cluster, PLAIN), timeout_s=None, say=said.append)
    assert RULES in api.objects
    assert "ConfigMap digits-rules stays until an apply waits for the service" in said
    confirm_newest(cluster, "digits", "models")
    assert read_bundles(cluster, "digits", "models")[-1].good  # whatever was left behind
    make_ready(api)
    apply(cluster, preview(cluster, PLAIN), timeout_s=5)
    assert RULES not in api.objects


def test_a_rollback_brings_it_back_and_the_same_bundle_keeps_it(api: TinyApi, cluster: Cluster) -> None:
    apply(cluster, preview(cluster, RULED), timeout_s=None)
    make_ready(api)
    apply(cluster, preview(cluster, PLAIN), timeout_s=5)
    assert RULES not in api.objects
    receipt = rollback(cluster, "digits", "models", to=1, confirm=lambda entry, seen: True, timeout_s=5)
    assert receipt is not None
    assert RULES in api.objects
    assert pruned(cluster, RULED) == []


def test_a_right_to_delete_that_is_missing_is_found_before_anything_is_sent(api: TinyApi, cluster: Cluster) -> None:
    apply(cluster, preview(cluster, RULED), timeout_s=None)
    denied = {"message": 'User "ann" cannot delete resource "configmaps" in API group ""'}
    api.fault = lambda method, path: (403, denied) if method == "DELETE" else None
    with pytest.raises(RejectedError, match="ann may not delete"):
        preview(cluster, PLAIN)


@pytest.mark.parametrize(
    ("metadata", "ours"),
    [
        ({"labels": {"kserve-ext.dev/service": "digits"}, "managedFields": [{"manager": "kserve-ext"}]}, True),
        ({"labels": {"kserve-ext.dev/service": "other"}, "managedFields": [{"manager": "kserve-ext"}]}, False),
        ({"labels": {"kserve-ext.dev/service": "digits"}, "managedFields": [{"manager": "kubectl"}]}, False),
        ({"managedFields": [{"manager": "kserve-ext"}]}, False),
        ({}, False),
    ],
    ids=["applied with it", "of another service", "by somebody else", "before there were labels", "unknown"],
)
def test_only_what_was_applied_from_here_with_this_service_goes(metadata: dict[str, Any], ours: bool) -> None:
    assert is_ours({"metadata": metadata}, "digits") is ours


def test_what_somebody_relabelled_is_left_alone(api: TinyApi, cluster: Cluster) -> None:
    apply(cluster, preview(cluster, RULED), timeout_s=None)
    api.objects[RULES]["metadata"]["labels"] = {}
    assert pruned(cluster, PLAIN) == []


def test_a_runtime_that_another_service_names_is_left_alone(cluster: Cluster) -> None:
    apply(cluster, preview(cluster, unit(other("ServingRuntime", "shared"))), timeout_s=None)
    assert pruned(cluster, PLAIN) == ["ServingRuntime shared"]
    second = unit(name="second")
    second.objects[-1]["spec"]["predictor"]["model"]["runtime"] = "shared"
    apply(cluster, preview(cluster, second), timeout_s=None)
    assert pruned(cluster, PLAIN) == []


def claim(version: str = "v1") -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models", "namespace": "models"},
    }


def scaler(version: str) -> dict[str, Any]:
    kind = "HorizontalPodAutoscaler"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "digits", "namespace": "models"}}


@pytest.mark.parametrize(
    ("had", "wanted", "left"),
    [
        ([scaler("autoscaling/v2")], [], ["HorizontalPodAutoscaler digits"]),
        ([scaler("autoscaling/v2")], [scaler("autoscaling/v1")], []),
        ([claim()], [], []),
        ([isvc(namespace="models")], [], []),
        ([other("ClusterServingRuntime", "wide")], [], []),
    ],
    ids=["an autoscaler", "another version of it", "a claim with data", "the service", "cluster-wide"],
)
def test_what_is_left_behind(had: list[dict[str, Any]], wanted: list[dict[str, Any]], left: list[str]) -> None:
    entry = next_entry((), had, service="digits", applied_at="")
    assert [str(ref) for ref in left_behind([entry], wanted)] == left
