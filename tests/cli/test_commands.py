"""Commands that need no server: what they print, and their exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from kserve_ext.domain import Plan, Resources, Scaling

COMMANDS = [
    "init", "profile", "verify", "plan", "explain", "render", "lint", "fleet", "traffic", "simulate", "whatif", "demo",
    "package", "schema", "run", "up", "version",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(kserve_ext, command: str) -> None:
    done = kserve_ext(command, "--help")
    assert done.returncode == 0
    assert f"kserve-ext {command}" in done.stdout.split("Example:")[1]


def test_every_command_is_listed(kserve_ext) -> None:
    listed = kserve_ext("--help").stdout
    assert all(re.search(rf"^│ {command} ", listed, re.MULTILINE) for command in COMMANDS)


def test_plan_prints_every_decided_field_with_its_reason(kserve_ext, emulated: str) -> None:
    done = kserve_ext("plan", emulated)
    assert done.returncode == 0, done.stderr
    for name in (
        "max_batch_size",
        "max_queue_delay_s",
        "instances",
        "concurrency_limit",
        "target",
        "timeout_s",
    ):
        assert name in done.stdout


def test_plan_as_json_has_the_fields_of_the_plan(kserve_ext, emulated: str) -> None:
    plan = json.loads(kserve_ext("plan", emulated, "-o", "json").stdout)
    assert set(plan) == set(Plan.__dataclass_fields__)
    assert set(plan["scaling"]) == set(Scaling.__dataclass_fields__)
    assert set(plan["resources"]) == set(Resources.__dataclass_fields__)
    assert all(reason["text"] and reason["code"] for reason in plan["reasons"])


def test_plan_as_yaml_says_the_same_as_json(kserve_ext, emulated: str) -> None:
    as_json = json.loads(kserve_ext("plan", emulated, "-o", "json").stdout)
    assert yaml.safe_load(kserve_ext("plan", emulated, "-o", "yaml").stdout) == as_json


def test_two_plans_of_the_same_input_are_equal_to_the_byte(kserve_ext, emulated: str) -> None:
    assert kserve_ext("plan", emulated, "-o", "json").stdout == kserve_ext("plan", emulated, "-o", "json").stdout


def test_a_manifest_comes_from_standard_input_too(kserve_ext, emulated: str) -> None:
    text = Path(emulated).read_text()
    assert kserve_ext("plan", "-", "-o", "json", stdin=text).stdout == kserve_ext("plan", emulated, "-o", "json").stdout


def test_several_manifests_give_a_list_of_plans(kserve_ext, emulated: str) -> None:
    text = Path(emulated).read_text()
    twice = text + "---\n" + text.replace("name: emulated", "name: second", 1)
    plans = json.loads(kserve_ext("plan", "-", "-o", "json", stdin=twice).stdout)
    assert [plan["service"] for plan in plans] == ["emulated", "second"]


def test_more_traffic_asks_for_more_replicas_and_a_looser_slo_for_no_more(kserve_ext, emulated: str) -> None:
    def replicas(*options: str) -> int:
        return json.loads(kserve_ext("plan", emulated, "-o", "json", *options).stdout)["replicas_at_high_rate"]

    base = replicas("--rate", "50..2000rps")
    assert replicas("--rate", "50..9000rps") > base >= replicas("--rate", "50..2000rps", "--slo-p99", "200ms")


def test_explain_tells_the_numbers_behind_a_field(kserve_ext, emulated: str) -> None:
    found = json.loads(kserve_ext("explain", emulated, "concurrency_limit", "-o", "json").stdout)
    plan = json.loads(kserve_ext("plan", emulated, "-o", "json").stdout)
    assert [entry["field"] for entry in found] == ["concurrency_limit"]
    assert found[0]["value"] == plan["concurrency_limit"]
    assert found[0]["numbers"]


def test_explain_of_an_unknown_field_names_the_fields_there_are(kserve_ext, emulated: str) -> None:
    done = kserve_ext("explain", emulated, "bandwidth")
    assert done.returncode == 2
    assert "concurrency_limit" in done.stderr


def test_render_to_standard_output_is_ready_for_kubectl(kserve_ext, emulated: str) -> None:
    documents = list(yaml.safe_load_all(kserve_ext("render", emulated).stdout))
    assert {"InferenceService", "ConfigMap"} <= {document["kind"] for document in documents}


def test_rendering_twice_changes_no_byte(kserve_ext, emulated: str, tmp_path: Path) -> None:
    kserve_ext("render", emulated, "--out", "once")
    kserve_ext("render", "once/emulated/inferenceservice.yaml", "--out", "twice")
    once = (tmp_path / "once/emulated/inferenceservice.yaml").read_bytes()
    assert once == (tmp_path / "twice/emulated/inferenceservice.yaml").read_bytes()


def test_the_printed_schema_is_the_committed_one(kserve_ext, root: Path) -> None:
    assert kserve_ext("schema").stdout == (root / "manifests" / "intent.schema.json").read_text()


def test_version_is_the_packages(kserve_ext) -> None:
    from kserve_ext import __version__

    assert kserve_ext("version").stdout == f"kserve-ext {__version__}\n"
    assert json.loads(kserve_ext("version", "-o", "json").stdout) == {"version": __version__}


def test_completion_can_be_shown(kserve_ext) -> None:
    assert "kserve-ext" in kserve_ext("--show-completion", "bash").stdout
