"""Bad input at the command line: exit code, and what the message names. Never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

MANIFEST = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: emulated
  annotations:
    kserve-ext.dev/slo-p99: 60ms
    kserve-ext.dev/rate: 50..600rps
    kserve-ext.dev/hardware: a100-1g.10gb
spec:
  predictor:
    model:
      modelFormat: {name: triton}
      storageUri: pvc://models/emulated
"""

CASES = {
    "empty manifest": ("", 2, ["empty"]),
    "another kind": ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", 2, ["Pod", "InferenceService"]),
    "unknown annotation": (MANIFEST.replace("slo-p99", "slo-p98"), 2, ["stdin:6", "slo-p98", "slo-p99"]),
    "SLO of zero": (MANIFEST.replace("60ms", "0ms"), 2, ["slo-p99", "0ms"]),
    "SLO in words": (MANIFEST.replace("60ms", "fast"), 2, ["slo-p99", "fast", "80ms"]),
    "rate upside down": (MANIFEST.replace("50..600rps", "600..50rps"), 2, ["rate", "600..50rps"]),
    "SLO below one inference": (MANIFEST.replace("60ms", "1ms"), 3, ["1ms", "slo-p99"]),
    "too few replicas": (
        MANIFEST.replace("50..600rps", "50..90000rps\n    kserve-ext.dev/max-replicas: '2'"), 3, ["max-replicas"],
    ),
    "no profile for the hardware": (MANIFEST.replace("a100-1g.10gb", "h100"), 2, ["h100", "kserve-ext profile"]),
    "no such policy": (MANIFEST.replace("rate:", "policy: magic\n    kserve-ext.dev/rate:"), 2, ["magic"]),
    "policy module missing": (MANIFEST.replace("rate:", "policy: 'no_such:f'\n    kserve-ext.dev/rate:"), 2, ["no_such"]),
    "profile missing": (MANIFEST.replace("rate:", "profile: gone.json\n    kserve-ext.dev/rate:"), 2, ["gone.json"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code", "named"), CASES.values(), ids=CASES)
def test_bad_input_is_named_and_never_a_traceback(kserve_ext, text: str, code: int, named: list[str]) -> None:
    done = kserve_ext("plan", "-", stdin=text)
    said = done.stderr.replace("-:", "stdin:")
    assert done.returncode == code, said
    assert done.stdout == ""
    assert "Traceback" not in said
    assert all(word in said for word in named), said


def test_an_infeasible_plan_names_the_nearest_one_that_works(kserve_ext) -> None:
    refused = kserve_ext("plan", "-", stdin=MANIFEST.replace("60ms", "1ms")).stderr
    nearest = refused.split("slo-p99: ")[1].split()[0]
    assert kserve_ext("plan", "-", stdin=MANIFEST.replace("60ms", nearest)).returncode == 0


def test_an_unreadable_file_is_named(kserve_ext) -> None:
    done = kserve_ext("plan", "nowhere.yaml")
    assert (done.returncode, "nowhere.yaml" in done.stderr) == (2, True)


def test_an_endpoint_that_nobody_serves_is_unreachable(kserve_ext) -> None:
    done = kserve_ext("verify", "http://127.0.0.1:9", "--model", "m", "--slo-p99", "1s", "--rate", "5rps")
    assert (done.returncode, "127.0.0.1:9" in done.stderr) == (4, True)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--slo-p99", "quick", "--rate", "5rps"], "quick"),
        (["--slo-p99", "1s", "--rate", "many"], "many"),
        (["--slo-p99", "1s"], "--concurrency"),
        (["--slo-p99", "1s", "--rate", "5rps", "--concurrency", "3"], "both"),
        (["--slo-p99", "1s", "--rate", "5rps", "--duration", "0s"], "--duration"),
    ],
)
def test_a_wrong_option_of_verify_is_named(kserve_ext, options: list[str], named: str) -> None:
    done = kserve_ext("verify", "127.0.0.1:9", "--model", "m", *options)
    assert (done.returncode, named in done.stderr) == (2, True), done.stderr


def test_a_file_that_is_no_onnx_is_refused_and_nothing_is_written(kserve_ext, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_text("this is not a model")
    done = kserve_ext("init", "broken.onnx", "--slo-p99", "80ms", "--rate", "5rps")
    assert (done.returncode, "not an ONNX file" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.onnx"]


def test_a_failing_policy_names_its_line(kserve_ext, tmp_path: Path) -> None:
    (tmp_path / "bad_policy.py").write_text("def decide(request):\n    return 1 / 0\n")
    done = kserve_ext("plan", "-", "--policy", "bad_policy:decide", stdin=MANIFEST)
    assert (done.returncode, "bad_policy.py:2" in done.stderr) == (2, True), done.stderr


def test_a_policy_that_answers_no_plan_is_refused(kserve_ext, tmp_path: Path) -> None:
    (tmp_path / "odd_policy.py").write_text("def decide(request):\n    return 42\n")
    done = kserve_ext("plan", "-", "--policy", "odd_policy:decide", stdin=MANIFEST)
    assert (done.returncode, "int" in done.stderr) == (2, True), done.stderr
