"""Fixes: what they change in a text, what they leave, and when they are not made."""

from __future__ import annotations

from pathlib import Path

import pytest

from kserve_ext.lint import BY_ID, ConfigText, Sources, check, mend
from kserve_ext.linting import read_sources, write_changed

HEAD = """\
# who owns it: team vision
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  annotations:
    serving.kserve.io/deploymentMode: Knative   # agreed
"""


def mended(text: str) -> str:
    after, _, _ = mend(Sources(manifests={"service.yaml": text}))
    return after.manifests["service.yaml"]


def test_a_fix_takes_out_its_lines_and_nothing_else() -> None:
    text = HEAD + (
        "spec:\n  predictor:\n    # spare GPUs are rare\n    deploymentStrategy:\n      rollingUpdate:\n"
        "        maxSurge: 0\n\n    # how many\n    minReplicas: 2\n    model: {modelFormat: {name: onnx}, storageUri: s3://b/m}\n"
    )
    wanted = HEAD + (
        "spec:\n  predictor:\n    # spare GPUs are rare\n\n    # how many\n    minReplicas: 2\n"
        "    model: {modelFormat: {name: onnx}, storageUri: s3://b/m}\n"
    )
    assert mended(text) == wanted


def test_a_dropped_annotation_becomes_the_field() -> None:
    text = (
        HEAD
        + '    autoscaling.knative.dev/max-scale: "4"\nspec:\n  predictor:\n    model: {modelFormat: {name: onnx}}\n'
    )
    assert mended(text) == HEAD + "spec:\n  predictor:\n    maxReplicas: 4\n    model: {modelFormat: {name: onnx}}\n"


def test_a_field_that_is_set_wins_over_the_dropped_annotation() -> None:
    text = HEAD + '    autoscaling.knative.dev/max-scale: "4"\nspec:\n  predictor:\n    maxReplicas: 2\n    model: {}\n'
    assert mended(text) == HEAD + "spec:\n  predictor:\n    maxReplicas: 2\n    model: {}\n"


def test_a_mapping_that_would_be_empty_goes_with_its_last_field() -> None:
    text = HEAD + (
        "spec:\n  predictor:\n    model: {modelFormat: {name: onnx}}\n    scaleTarget: 4\n    annotations:\n"
        '      autoscaling.knative.dev/target: "3"\n'
    )
    assert mended(text) == HEAD + "spec:\n  predictor:\n    model: {modelFormat: {name: onnx}}\n    scaleTarget: 4\n"


@pytest.mark.parametrize(
    "predictor",
    [
        "{deploymentStrategy: {type: Recreate}, model: {storageUri: s3://b/m}}",
        "\n    deploymentStrategy: {type: Recreate}",
    ],
    ids=["flow", "last-of-its-mapping"],
)
def test_what_cannot_be_edited_safely_is_left_as_it_was(predictor: str) -> None:
    text = HEAD + f"spec:\n  predictor: {predictor}\n"
    rules = [BY_ID["KX111"]]
    after, outcome, count = mend(Sources(manifests={"service.yaml": text}), rules=rules)
    if predictor.startswith("{"):
        assert (after.manifests["service.yaml"], count, len(outcome.findings)) == (text, 0, 1)
    else:
        assert check(after, rules=rules).findings == ()


def test_several_findings_of_one_file_are_mended_one_after_another() -> None:
    text = HEAD + (
        "    serving.kserve.io/autoscalerClass: hpa\nspec:\n  predictor:\n    containerConcurrency: 4\n    scaleTarget: 9\n"
        "    terminationGracePeriodSeconds: 90\n    model: {modelFormat: {name: onnx}, storageUri: s3://b/m}\n"
    )
    wanted = HEAD + (
        "spec:\n  predictor:\n    containerConcurrency: 4\n    scaleTarget: 4\n"
        "    model: {modelFormat: {name: onnx}, storageUri: s3://b/m}\n"
    )
    assert mended(text) == wanted


def test_a_config_keeps_its_comments() -> None:
    text = '# by hand\nname: "other" # an old name\nmax_batch_size: 8\n'
    sources = Sources(configs={"models/digits/config.pbtxt": ConfigText(text=text, model="digits")})
    after, _, count = mend(sources)
    assert count == 1
    assert after.configs["models/digits/config.pbtxt"].text == text.replace("other", "digits")


def test_written_files_keep_their_line_ends_and_links(tmp_path: Path) -> None:
    text = (
        HEAD
        + "spec:\n  predictor:\n    timeout: 60\n    terminationGracePeriodSeconds: 9\n    model: {storageUri: s3://b/m}\n"
    )
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_bytes(text.replace("\n", "\r\n").encode())
    link.symlink_to(real)
    found = read_sources([str(link)])
    after, _, _ = mend(found.sources, rules=[BY_ID["KX112"]])
    assert write_changed(found.sources, after) == [str(link)]
    assert link.is_symlink()
    expected = text.replace("    terminationGracePeriodSeconds: 9\n", "").replace("\n", "\r\n")
    assert real.read_bytes() == expected.encode()
    assert write_changed(after, after) == []


def test_what_an_alias_repeats_is_not_edited() -> None:
    text = (
        HEAD + "spec:\n  predictor: &same\n    terminationGracePeriodSeconds: 9\n    model: {}\n  transformer: *same\n"
    )
    assert mended(text) == text
