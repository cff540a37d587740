"""Where pods may go, as fields of an InferenceService, by mode, provider and what is spare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kserve_ext.policy.fleet import Fleet, read_fleet, schedule
from kserve_ext.policy.fleet.scheduling import Placement

ALL_FLAGS = "knative: {features: [nodeselector, tolerations, affinity, topologyspreadconstraints, priorityclassname]}\n"
POOLS = """\
priorityClassName: serving
pools:
- {name: steady, provider: PROVIDER, gpu: a100-80gb, nodes: 1, taints: [{key: team, value: ml}]}
- {name: spot, provider: PROVIDER, gpu: a100-80gb, nodes: 1, spot: true}
- {name: single, provider: PROVIDER, gpu: a100-80gb, nodes: 1, mig: single, slices: [1g.10gb]}
- {name: shares, provider: PROVIDER, gpu: l4, nodes: 1, sharing: {kind: mps, replicas: 4, renameByDefault: false}}
"""


def fleet(provider: str = "gke", flags: str = ALL_FLAGS) -> Fleet:
    return read_fleet(POOLS.replace("PROVIDER", provider) + flags, "fleet.yaml")


def manifest(**predictor: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "m"},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "triton"}}, **predictor}},
    }


def placed(spare: int = 0, kind: str = "a100-80gb/1g.10gb", **replicas: int) -> Placement:
    return Placement(service="m", kind=kind, replicas=replicas or {"steady": 1}, spare=spare)


def predictor(place: Placement, *, provider: str = "gke", knative: bool = False, on: Fleet | None = None, **own: Any):
    return schedule(manifest(**own), place, on or fleet(provider), knative=knative)[0]["spec"]["predictor"]


def test_a_slice_is_requested_as_it_is_limited_and_another_kind_is_not() -> None:
    own = {"model": {"resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "2"}}}}
    resources = predictor(placed(), **own)["model"]["resources"]
    assert resources == {
        "limits": {"cpu": "2", "nvidia.com/mig-1g.10gb": "1"},
        "requests": {"nvidia.com/mig-1g.10gb": "1"},
    }


@pytest.mark.parametrize(
    ("provider", "tolerations"),
    [
        ("gke", {("team", "ml"), ("nvidia.com/gpu", "present")}),
        ("eks", {("team", "ml"), ("nvidia.com/gpu", None)}),
        ("aks", {("team", "ml"), ("nvidia.com/gpu", None), ("kubernetes.azure.com/scalesetpriority", "spot")}),
    ],
)
def test_every_taint_of_the_pools_is_tolerated(provider: str, tolerations: set[tuple[str, str | None]]) -> None:
    found = predictor(placed(steady=1, spot=2), provider=provider)["tolerations"]
    assert {(each["key"], each.get("value")) for each in found} == tolerations


@pytest.mark.parametrize(
    ("provider", "place", "selector"),
    [
        ("gke", placed(), {"cloud.google.com/gke-accelerator": "nvidia-a100-80gb"}),
        ("gke", placed(single=1), {"cloud.google.com/gke-accelerator": "nvidia-a100-80gb",
                                   "cloud.google.com/gke-gpu-partition-size": "1g.10gb"}),
        ("plain", placed(single=1), {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"}),
        ("plain", placed(kind="l4/shared", shares=1), {"nvidia.com/gpu.product": "NVIDIA-L4-SHARED"}),
        ("plain", placed(kind="a100-80gb/gpu"), {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}),
    ],
)  # fmt: skip
def test_labels_tell_a_part_from_others_of_its_resource_name(provider: str, place: Placement, selector) -> None:
    assert predictor(place, provider=provider)["nodeSelector"] == selector


def test_a_mixed_slice_needs_no_label_on_a_plain_cluster() -> None:
    assert "nodeSelector" not in predictor(placed(), provider="plain")


@pytest.mark.parametrize("provider", ["gke", "eks"])
def test_a_mix_keeps_the_planned_number_off_spot_by_the_skew(provider: str) -> None:
    found = predictor(placed(steady=1, spot=4), provider=provider)
    (hard,) = [each for each in found["topologySpreadConstraints"] if each["whenUnsatisfiable"] == "DoNotSchedule"]
    assert hard["maxSkew"] == 3
    assert "preferredDuringSchedulingIgnoredDuringExecution" in found["affinity"]["nodeAffinity"]


def test_where_only_spot_nodes_have_the_spot_label_the_pools_are_spread_over() -> None:
    found = predictor(placed(steady=2, spot=3), provider="aks")
    keys = [each["topologyKey"] for each in found["topologySpreadConstraints"]]
    assert keys[-1] == "kubernetes.azure.com/agentpool"


@pytest.mark.parametrize(("pool", "operator"), [("steady", "NotIn"), ("spot", "In")])
def test_a_service_of_one_sort_of_pool_stays_there(pool: str, operator: str) -> None:
    terms = predictor(placed(**{pool: 2}))["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"][0]["matchExpressions"][0]["operator"] == operator


@pytest.mark.parametrize(
    ("spare", "replicas", "strategy"),
    [
        (0, 1, {"type": "Recreate"}),
        (0, 3, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        (2, 3, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}),
    ],
)
def test_new_pods_come_first_only_where_there_is_a_part_to_spare(spare: int, replicas: int, strategy) -> None:
    assert predictor(placed(spare=spare, steady=replicas))["deploymentStrategy"] == strategy


def test_knative_gets_no_strategy_and_is_told_that_a_rollout_waits() -> None:
    new, notes = schedule(manifest(), placed(steady=2), fleet(), knative=True)
    assert "deploymentStrategy" not in new["spec"]["predictor"]
    assert any(note.code == "knative-rollout-needs-spare" for note in notes)


def test_a_field_whose_flag_is_off_is_left_out_in_knative_mode_with_the_remedy() -> None:
    off = fleet(flags="knative: {features: [tolerations]}\n")
    new, notes = schedule(manifest(), placed(steady=2), off, knative=True)
    found = new["spec"]["predictor"]
    assert "tolerations" in found
    assert not {"nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName"} & set(found)
    assert "kubernetes.podspec-affinity" in next(note.text for note in notes if note.field.endswith("affinity"))


def test_standard_mode_needs_no_flags() -> None:
    found = predictor(placed(steady=2), on=fleet(flags=""))
    assert {"tolerations", "affinity", "topologySpreadConstraints", "priorityClassName"} <= set(found)


def test_what_the_user_wrote_stays() -> None:
    own = {"affinity": {"podAffinity": {}}, "nodeSelector": {"disk": "ssd"}, "priorityClassName": "mine",
           "tolerations": [{"key": "mine", "operator": "Exists"}], "deploymentStrategy": {"type": "Recreate"}}  # fmt: skip
    found = predictor(placed(steady=2), **own)
    assert found["affinity"] == {"podAffinity": {}}
    assert found["nodeSelector"]["disk"] == "ssd"
    assert found["priorityClassName"] == "mine"
    assert found["tolerations"][0] == {"key": "mine", "operator": "Exists"}
    assert found["deploymentStrategy"] == {"type": "Recreate"}


def test_scheduling_twice_changes_nothing_and_the_manifest_given_is_left_alone() -> None:
    given = manifest()
    once, _ = schedule(given, placed(steady=2, spot=1), fleet(), knative=False)
    assert given == manifest()
    assert schedule(once, placed(steady=2, spot=1), fleet(), knative=False)[0] == once


def test_a_service_on_cpu_asks_for_no_gpu_and_tolerates_none() -> None:
    found = predictor(replace(placed(), kind="cpu"), on=read_fleet("pools:\n- {name: steady, nodes: 1}\n", "f"))
    assert "resources" not in found["model"]
    assert "tolerations" not in found


def test_pools_that_name_a_part_differently_are_told() -> None:
    _, notes = schedule(manifest(), placed(steady=1, single=1), fleet(), knative=False)
    assert any(note.code == "resource-names-differ" for note in notes)
