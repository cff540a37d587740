"""kserve-ext lint: forms of output, exit codes, choosing rules, fixing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

HEAD = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: digits\n"
MODE = "  annotations:\n    serving.kserve.io/deploymentMode: {mode}\n"
MODEL = "    model:\n      modelFormat:\n        name: sklearn\n      storageUri: s3://b/m\n"
CLEAN = HEAD + MODE.format(mode="Knative") + "spec:\n  predictor:\n" + MODEL
WARNED = HEAD + MODE.format(mode="Standard") + "spec:\n  predictor:\n    containerConcurrency: 4 # by hand\n" + MODEL
WRONG = (
    HEAD + MODE.format(mode="Knative") + "spec:\n  predictor:\n    terminationGracePeriodSeconds: 9 # long\n" + MODEL
)


@pytest.fixture
def manifest(tmp_path: Path):
    """Write a manifest and give its name, relative to the folder that commands run in."""

    def write(text: str, name: str = "service.yaml") -> str:
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        (CLEAN, [], 0), (WARNED, [], 0), (WARNED, ["--strict"], 1), (WRONG, [], 1), (WRONG, ["--ignore", "KX112"], 0),
        (WRONG, ["--rule", "KX140"], 0), (WARNED, ["--rule", "KX140", "--strict"], 1), ("a: [", [], 2), ("a: b\n", [], 2),
        (WRONG, ["--rule", "KX999"], 2), (WRONG, ["--cluster-facts", "none.yaml"], 2),
    ],
)  # fmt: skip
def test_the_exit_code_says_whether_there_are_errors(
    kserve_ext, manifest, text: str, options: list[str], code: int
) -> None:
    done = kserve_ext("lint", manifest(text), *options)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_people_see_place_rule_message_and_remedy(kserve_ext, manifest) -> None:
    done = kserve_ext("lint", manifest(WRONG))
    assert done.stdout.splitlines() == [
        "service.yaml:9: error KX112: terminationGracePeriodSeconds is refused by Knative",
        "    remove it and set timeout to the longest that a request may take",
    ]
    assert "1 error, 0 warnings" in done.stderr


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_json_and_yaml_have_the_same_findings(kserve_ext, manifest, form: str) -> None:
    shown = yaml.safe_load(kserve_ext("lint", manifest(WRONG), "-o", form).stdout)
    assert set(shown) == {"findings"}
    (finding,) = shown["findings"]
    assert (finding["rule"], finding["severity"], finding["file"], finding["line"]) == (
        "KX112",
        "error",
        "service.yaml",
        9,
    )
    assert finding["field"] == "spec.predictor.terminationGracePeriodSeconds"


def test_sarif_and_github_forms_are_printed(kserve_ext, manifest) -> None:
    name = manifest(WRONG)
    log = json.loads(kserve_ext("lint", name, "-o", "sarif").stdout)
    assert log["runs"][0]["results"][0]["ruleId"] == "KX112"
    assert kserve_ext("lint", name, "-o", "github").stdout.startswith("::error file=service.yaml,line=9,title=KX112::")


def test_what_cannot_be_read_does_not_keep_the_rest_from_being_shown(kserve_ext, manifest) -> None:
    done = kserve_ext("lint", manifest(WRONG), manifest("kind: [", "broken.yaml"))
    assert done.returncode == 2
    assert "KX112" in done.stdout
    assert "broken.yaml:1" in done.stderr


def test_fix_writes_the_file_keeps_its_comments_and_is_done_once(kserve_ext, manifest, tmp_path: Path) -> None:
    name = manifest("# ours\n" + WRONG)
    first = kserve_ext("lint", name, "--fix")
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"wrote {name}" in first.stderr
    assert (tmp_path / name).read_text() == "# ours\n" + CLEAN
    second = kserve_ext("lint", name, "--fix")
    assert "wrote" not in second.stderr
    assert "0 mended" in second.stderr


def test_standard_input_is_linted_and_not_fixed(kserve_ext) -> None:
    done = kserve_ext("lint", "-", stdin=WRONG)
    assert (done.returncode, done.stdout.startswith("<stdin>:9: error KX112")) == (1, True)
    assert kserve_ext("lint", "-", "--fix", stdin=WRONG).returncode == 2


def test_unknown_fields_of_a_config_have_line_and_column(kserve_ext, tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "config.pbtxt").write_text("max_batch_size: 8\n  max_queue: 3\n")
    done = kserve_ext("lint", "digits")
    assert done.returncode == 1
    assert done.stdout.startswith("digits/config.pbtxt:2:3: error KX402: ModelConfig has no field max_queue (column 3)")


def test_the_rules_are_listed(kserve_ext) -> None:
    rows = json.loads(kserve_ext("lint", "--list-rules", "-o", "json").stdout)["rules"]
    assert len(rows) > 100
    assert {"rule", "name", "about", "severity", "what", "leave", "remedy", "fix"} == set(rows[0])
    assert "KX101" in kserve_ext("lint", "--list-rules").stdout


def test_help_says_how_a_cluster_is_asked(kserve_ext) -> None:
    done = kserve_ext("lint", "--help")
    assert "Judge by a live cluster" in " ".join(done.stdout.replace("│", " ").split())
    assert "kserve-ext lint manifests" in done.stdout.split("Example:")[1]
