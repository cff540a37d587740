"""kserve-ext fleet: planning, showing, reading a cluster's nodes, alternatives; as a user has them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "manifests/examples/fleet/fleet.yaml"
SERVICES = sorted(str(path) for path in (ROOT / "manifests/examples/fleet/services").glob("*.yaml"))
ONE = SERVICES[0]


def test_the_example_fleet_is_planned_with_a_bound_beside(kserve_ext) -> None:
    done = kserve_ext("fleet", "plan", *SERVICES, "--fleet", str(FLEET), "-q", "-o", "json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert 0 < plan["gpus_lower_bound"] <= plan["gpus"] <= plan["gpus_in_fleet"] == 12
    assert {service["service"] for service in plan["services"]} == {
        "default/search", "default/thumbnails", "default/moderation",
    }  # fmt: skip
    assert len(plan["places"]) == sum(service["replicas"] for service in plan["services"])


def test_manifests_layouts_and_the_plan_are_written_and_the_plan_is_kept_to(kserve_ext, tmp_path: Path) -> None:
    def run(*services: str) -> dict:
        done = kserve_ext("fleet", "plan", *services, "--fleet", str(FLEET), "--out", "out", "-q", "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    before = run(*SERVICES[:1])
    after = run(*SERVICES[:2])
    assert after["moved"] == []
    assert all(place in after["places"] for place in before["places"])
    service = yaml.safe_load((tmp_path / "out/services/default/search/inferenceservice.yaml").read_text())
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"
    assert predictor["tolerations"][0]["key"] == "nvidia.com/gpu"
    nodes = yaml.safe_load((tmp_path / "out/nodes/layout.yaml").read_text())["nodes"]
    assert {node["mig.config"] for node in nodes} <= {"all-1g.10gb", "all-disabled"}


def test_the_table_says_how_many_gpus_and_how_many_at_least(kserve_ext) -> None:
    done = kserve_ext("fleet", "plan", ONE, "--fleet", str(FLEET), "-q", "--objective", "gpus")
    assert done.returncode == 0, done.stderr
    assert "1 of 12 GPUs; at least 1 are needed, proven" in done.stdout


def test_a_fleet_can_be_shown(kserve_ext) -> None:
    done = kserve_ext("fleet", "show", str(FLEET))
    assert (done.returncode, "a100-spot" in done.stdout) == (0, True)
    shown = kserve_ext("fleet", "show", str(FLEET), "-o", "yaml")
    assert [pool["name"] for pool in yaml.safe_load(shown.stdout)["pools"]] == ["a100", "a100-spot", "general"]


def test_a_clusters_nodes_become_a_fleet_file(kserve_ext) -> None:
    node = {"kind": "Node", "metadata": {"name": "n1", "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
            "status": {"allocatable": {"cpu": "8", "memory": "30Gi", "nvidia.com/gpu": "2"}}}  # fmt: skip
    done = kserve_ext("fleet", "from-nodes", "-", stdin=json.dumps({"items": [node]}))
    assert done.returncode == 0, done.stderr
    (pool,) = yaml.safe_load(done.stdout)["pools"]
    assert (pool["gpu"], pool["gpusPerNode"], pool["nodes"]) == ("l4", 2, ["n1"])


def test_what_a_fleet_of_nodes_leaves_out_is_said(kserve_ext) -> None:
    offered = {"cpu": "8", "memory": "30Gi", "nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "2"}
    node = {"kind": "Node", "metadata": {"name": "n1"}, "status": {"allocatable": offered}}
    done = kserve_ext("fleet", "from-nodes", "-", stdin=json.dumps({"items": [node]}))
    assert done.returncode == 0, done.stderr
    assert "note: n1: 4 nvidia.com/gpu beside slices are left out" in done.stderr
    assert yaml.safe_load(done.stdout)["pools"][0]["layout"] == ["1g.10gb", "1g.10gb"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["fleet", "show", str(FLEET), "--context", "kind"], "--context goes with --from-cluster"),
        (["fleet", "plan", ONE, "--fleet", str(FLEET), "--kubeconfig", "k"], "--kubeconfig goes with --from-cluster"),
        (["lint", ONE, "--context", "kind"], "--context goes with --cluster"),
    ],
    ids=["show", "plan", "lint"],
)
def test_a_context_that_nothing_would_look_at_is_refused(kserve_ext, command: list[str], said: str) -> None:
    done = kserve_ext(*command)
    assert done.returncode == 2
    assert said in done.stderr


def test_alternatives_are_listed_and_their_front_is_drawn(kserve_ext, tmp_path: Path) -> None:
    done = kserve_ext("plan", "--alternatives", ONE, "--fleet", str(FLEET), "--html", "a.html", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert any(one["best"] and one["cost_per_million"] > 0 for one in json.loads(done.stdout)["found"])
    page = (tmp_path / "a.html").read_text()
    assert page.count("<svg") == 2
    assert "<script" not in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--alternatives"], ["--fleet", "missing", "fleet from-nodes"]),
        (["--fleet", str(FLEET)], ["--fleet", "with --alternatives only"]),
        (["--html", "a.html"], ["--html", "with --alternatives only"]),
        (["--alternatives", "--fleet", "nope.yaml"], ["nope.yaml", "cannot be read"]),
    ],
)
def test_options_of_alternatives_that_do_not_fit_together_are_refused(
    kserve_ext, tmp_path: Path, options: list[str], said: list[str]
) -> None:
    done = kserve_ext("plan", ONE, *options)
    assert done.returncode == 2
    assert all(part in done.stderr for part in said), done.stderr
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("fleet", "options", "code", "said"),
    [
        ("pools:\n- name: a\n  gpu: nope\n", [], 2, ["fleet.yaml:3", "nope"]),
        ("pools:\n- name: a\n  gpu: l4\n", [], 3, ["default/moderation", "the fleet has nothing of this kind"]),
        ("pools:\n- name: a\n  gpu: a100-80gb\n", ["--objective", "fun"], 2, ["--objective", "fun", "gpus, cost"]),
        ("pools:\n- name: a\n  gpu: a100-80gb\n", ["--current", "plan.json"], 2, ["plan.json", "places"]),
        ("pools:\n- name: a\n  gpu: a100-80gb\n  memory: 1Mi\n", [], 3, ["no room for default/moderation"]),
    ],
    ids=["bad fleet", "kind not there", "bad objective", "no plan", "no room"],
)
def test_what_cannot_be_is_said_with_its_exit_code(
    kserve_ext, tmp_path: Path, fleet: str, options: list[str], code: int, said: list[str]
) -> None:
    (tmp_path / "fleet.yaml").write_text(fleet)
    (tmp_path / "plan.json").write_text('{"services": []}')
    done = kserve_ext("fleet", "plan", ONE, "--fleet", "fleet.yaml", "-q", *options)
    assert done.returncode == code, done.stderr
    assert all(part in done.stderr for part in said), done.stderr
    assert "Traceback" not in done.stderr


def parvagpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.parvagpu", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_published_scenarios_take_no_more_gpus_than_the_published_work(tmp_path: Path) -> None:
    done = parvagpu("-o", "json")
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert [(each["scenario"], each["gpus"], each["lower_bound"]) for each in records] == [
        ("S1", 2, 2), ("S2", 3, 3), ("S3", 5, 5),
    ]  # fmt: skip
    assert all({"gpus", "layout", "lower_bound", "plan_s", "scenario"} == set(each) for each in records)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("scenario,model,slo_ms\nS1,bert,10\n", 2, ["mine.csv:1", "no column rate_rps"]),
        ("scenario,model,slo_ms,rate_rps\nS1,gpt,10,1\n", 2, ["mine.csv:2", "gpt", "bert"]),
        ("scenario,model,slo_ms,rate_rps\nS1,bert,soon,1\n", 2, ["mine.csv:2", "slo_ms", "soon"]),
        ("scenario,model,slo_ms,rate_rps\nS1,bert,0.1,1\n", 3, ["no slice answers"]),
        ("scenario,model,slo_ms,rate_rps\n", 2, ["no rows"]),
    ],
)
def test_a_scenario_file_that_cannot_be_planned_is_named_by_line(
    tmp_path: Path, text: str, code: int, said: list[str]
) -> None:
    (tmp_path / "mine.csv").write_text(text)
    done = parvagpu("--scenarios", str(tmp_path / "mine.csv"))
    assert done.returncode == code
    assert all(part in done.stderr + done.stdout for part in said), done.stderr
