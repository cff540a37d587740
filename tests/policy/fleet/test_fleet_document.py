"""fleet.yaml and a cluster's nodes: read with the line of every fault, and written so that it reads the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kserve_ext.errors import ManifestError
from kserve_ext.policy.fleet import read_fleet, read_nodes, write_fleet
from kserve_ext.policy.fleet.types import Objective

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "manifests/examples/fleet/fleet.yaml"


def test_the_example_reads_the_same_after_it_was_written() -> None:
    fleet = read_fleet(EXAMPLE.read_text(), str(EXAMPLE))
    assert read_fleet(yaml.safe_dump(write_fleet(fleet)), "again") == fleet
    assert len(fleet.gpus(Objective.GPUS)) == 12
    assert {gpu.weight for gpu in fleet.gpus(Objective.COST)} == {4.0, 1.6}
    assert [node.serves_cpu for node in fleet.nodes(Objective.GPUS)] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("text", "said"),
    {
        "no pools": ("pools: []\n", ["f.yaml:1", "pools"]),
        "unknown field": ("pools:\n- name: a\n  prise: 3\n", ["f.yaml:3", "pools[0].prise", "pricePerHour"]),
        "unknown gpu": ("pools:\n- name: a\n  gpu: a101\n", ["f.yaml:3", "a101", "a100-80gb", "gpuMemory"]),
        "no such slice": ("pools:\n- name: a\n  gpu: a100-80gb\n  slices: [9g.9gb]\n", ["f.yaml:4", "9g.9gb", "1g.10gb"]),
        "layout that is none": (
            "pools:\n- name: a\n  gpu: a100-80gb\n  layout: [4g.40gb, 4g.40gb]\n", ["f.yaml:4", "do not fit"],
        ),
        "slices and shares": (
            "pools:\n- name: a\n  gpu: a100-80gb\n  slices: [1g.10gb]\n  sharing: {kind: mps, replicas: 4}\n",
            ["f.yaml:5", "cut or shared"],
        ),
        "single with all slices": ("pools:\n- name: a\n  gpu: a30\n  mig: single\n", ["f.yaml:4", "one kind of slice"]),
        "negative price": ("pools:\n- name: a\n  pricePerHour: -1\n", ["f.yaml:3", "-1", "greater than 0"]),
        "start in words": ("pools:\n- name: a\n  start: soon\n", ["f.yaml:3", "soon", "80ms"]),
        "memory in words": ("pools:\n- name: a\n  memory: much\n", ["f.yaml:3", "much", "512Mi"]),
        "twice": ("pools:\n- name: a\n- name: a\n", ["pool a stands twice", "node a-0 stands twice"]),
        "unknown flag": ("pools:\n- name: a\nknative: {features: [magic]}\n", ["f.yaml:3", "magic", "nodeselector"]),
        "no nodes": ("pools:\n- name: a\n  nodes: 0\n", ["f.yaml:3", "1 to 10000"]),
    }.values(),
)  # fmt: skip
def test_a_fault_in_a_fleet_file_is_named_with_its_line(text: str, said: list[str]) -> None:
    with pytest.raises(ManifestError) as raised:
        read_fleet(text, "f.yaml")
    assert all(part in str(raised.value) for part in said), str(raised.value)


def test_a_gpu_that_is_not_in_the_table_is_used_whole() -> None:
    fleet = read_fleet("pools:\n- name: a\n  gpu: v100\n  gpuMemory: 16Gi\n  gpusPerNode: 2\n", "f.yaml")
    assert [gpu.shape.kinds for gpu in fleet.gpus(Objective.GPUS)] == [{"v100/gpu"}] * 2


def test_a_fixed_layout_offers_its_own_slices_only() -> None:
    text = "pools:\n- name: a\n  gpu: a100-80gb\n  layout: [3g.40gb, 2g.20gb, 1g.10gb]\n"
    (gpu,) = read_fleet(text, "f.yaml").gpus(Objective.GPUS)
    assert sorted(slot.kind.partition("/")[2] for slot in gpu.shape.slots) == ["1g.10gb", "2g.20gb", "3g.40gb"]


def node(name: str, labels: dict[str, str], allocatable: dict[str, str], taints: list[dict[str, str]] | None = None):
    return {
        "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {"taints": taints or []},
        "status": {"allocatable": {"cpu": "15890m", "memory": "60Gi", **allocatable}},
    }  # fmt: skip


def dump(*nodes: object) -> str:
    return json.dumps({"kind": "List", "items": list(nodes)})


GKE_SPOT = {"cloud.google.com/gke-nodepool": "gpu", "cloud.google.com/gke-spot": "true",
            "cloud.google.com/gke-accelerator": "nvidia-a100-80gb"}  # fmt: skip
AKS = {
    "kubernetes.azure.com/agentpool": "slices",
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
    "nvidia.com/gpu.count": "2",
}
EKS_SINGLE = {"eks.amazonaws.com/nodegroup": "single", "eks.amazonaws.com/capacityType": "ON_DEMAND",
              "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "nvidia.com/gpu.count": "14"}  # fmt: skip
PLAIN_SHARED = {
    "nvidia.com/gpu.product": "Tesla-T4-SHARED",
    "nvidia.com/gpu.replicas": "4",
    "nvidia.com/gpu.count": "1",
}


@pytest.mark.parametrize(
    ("labels", "allocatable", "name", "spot", "gpus", "kinds"),
    [
        (GKE_SPOT, {"nvidia.com/gpu": "8"}, "gpu", True, 8, {"a100-80gb/1g.10gb", "a100-80gb/gpu"}),
        (AKS, {"nvidia.com/mig-3g.40gb": "4"}, "slices", False, 2, {"a100-80gb/3g.40gb"}),
        (EKS_SINGLE, {"nvidia.com/gpu": "14"}, "single", False, 2, {"a100-40gb/1g.5gb"}),
        (PLAIN_SHARED, {"nvidia.com/gpu": "4"}, "t4", False, 1, {"t4/shared"}),
        ({"nvidia.com/gpu.product": "Voodoo"}, {"nvidia.com/gpu": "2"}, "voodoo", False, 2, {"voodoo/gpu"}),
        ({}, {}, "cpu", False, 0, set()),
    ],
    ids=["gke spot", "aks mixed", "eks single", "plain shared", "unknown gpu", "no gpu"],
)
def test_nodes_say_what_they_have(labels, allocatable, name: str, spot: bool, gpus: int, kinds: set[str]) -> None:
    (pool,) = read_nodes(dump(node("a", labels, allocatable), node("b", labels, allocatable)), "nodes.json").pools
    assert (pool.name, pool.node_names, pool.spot, pool.gpus_per_node) == (name, ("a", "b"), spot, gpus)
    assert kinds <= (pool.shape.kinds if pool.shape else set())


@pytest.mark.parametrize(
    ("labels", "allocatable", "notes"),
    [
        (GKE_SPOT, {"nvidia.com/gpu": "8"}, []),
        (AKS, {"nvidia.com/mig-3g.40gb": "4"}, []),
        (PLAIN_SHARED, {"nvidia.com/gpu": "4"}, []),
        ({}, {}, []),
        (
            AKS,
            {"nvidia.com/gpu": "2", "nvidia.com/mig-3g.40gb": "4"},
            ["a: 2 nvidia.com/gpu beside slices are left out"],
        ),
        (
            {},
            {"nvidia.com/mig-1g.10gb": "2"},
            ["a: no label nvidia.com/gpu.product: taken for a100-40gb by its slices"],
        ),
        ({}, {"nvidia.com/gpu": "1"}, ["a: no label nvidia.com/gpu.product: no model can be told"]),
    ],
    ids=["whole", "sliced", "shared", "none", "whole beside sliced", "model by slices", "no model"],
)
def test_what_a_pool_leaves_out_or_guesses_is_said(labels, allocatable, notes: list[str]) -> None:
    fleet = read_nodes(dump(node("a", labels, allocatable)), "nodes.json")
    assert len(fleet.notes) == len(notes)
    assert all(said.startswith(wanted) for said, wanted in zip(fleet.notes, notes, strict=True))


def test_nodes_that_differ_are_different_pools_and_the_control_plane_is_none() -> None:
    control = node("c", {}, {}, [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}])
    fleet = read_nodes(dump(control, node("a", {}, {"nvidia.com/gpu": "1"}), node("b", {}, {})), "nodes.json")
    assert sorted(pool.node_names for pool in fleet.pools) == [("a",), ("b",)]


def test_a_fleet_made_of_nodes_can_be_written_and_read() -> None:
    taint = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    fleet = read_nodes(
        dump(node("a", GKE_SPOT, {"nvidia.com/gpu": "8"}, taint), node("b", AKS, {"nvidia.com/mig-3g.40gb": "4"})), "n"
    )
    again = read_fleet(yaml.safe_dump(write_fleet(fleet)), "again")
    assert [pool.shape for pool in again.pools] == [pool.shape for pool in fleet.pools]
    assert [pool.taints for pool in again.pools] == [pool.taints for pool in fleet.pools]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"items": []}', '{"items": [{"kind": "Pod", "metadata": {"name": "a"}}]}']
)
def test_what_is_no_list_of_nodes_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match=r"nodes\.json"):
        read_nodes(text, "nodes.json")
