"""Accepting a finding, by a comment or an annotation, with a reason."""

from __future__ import annotations

import pytest

from kserve_ext.lint import BY_ID, ConfigText, Sources, check

SERVICE = """\
{top}apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  annotations:
    serving.kserve.io/deploymentMode: Standard{annotation}
spec:
  predictor:
    {above}minReplicas: 0{behind}
    model:
      modelFormat:
        name: onnx
      storageUri: pvc://models/digits
"""
ZERO, LIMIT = BY_ID["KX145"], BY_ID["KX140"]
ABOUT_IGNORES = [BY_ID["KX001"], BY_ID["KX002"]]


def service(**parts: str) -> Sources:
    blanks = {"top": "", "annotation": "", "above": "", "behind": ""}
    return Sources(manifests={"service.yaml": SERVICE.format(**blanks | parts)})


@pytest.mark.parametrize(
    "parts",
    [
        {"behind": " # kserve-ext: ignore KX145 woken by a cron job"},
        {"above": "# kserve-ext: ignore KX145 woken by a cron job\n    "},
        {"above": "# kserve-ext: ignore KX140, KX145 woken by a cron job\n    "},
        {"top": "# kserve-ext: ignore KX145 woken by a cron job\n"},
        {"annotation": '\n    kserve-ext.dev/lint-ignore: "KX145 woken by a cron job"'},
        {"annotation": '\n    kserve-ext.dev/lint-ignore: "KX140 none; KX145 woken by a cron job"'},
    ],
    ids=["behind", "above", "two-rules", "over-the-object", "annotation", "annotation-with-two"],
)
def test_a_finding_with_a_reason_is_accepted(parts: dict[str, str]) -> None:
    outcome = check(service(**parts), rules=[ZERO, *ABOUT_IGNORES])
    assert (outcome.findings, outcome.ignored) == ((), 1)


@pytest.mark.parametrize(
    ("parts", "rules"),
    [
        ({}, ["KX145"]),
        ({"behind": " # kserve-ext: ignore KX140 another rule"}, ["KX145"]),
        ({"behind": " # kserve-ext: ignore KX145"}, ["KX001", "KX145"]),
        ({"annotation": '\n    kserve-ext.dev/lint-ignore: "KX145"'}, ["KX001", "KX145"]),
        ({"annotation": '\n    kserve-ext.dev/lint-ignore: "KX14 no such rule"'}, ["KX002", "KX145"]),
    ],
    ids=["nothing", "another-rule", "no-reason", "no-reason-in-annotation", "no-such-rule"],
)
def test_a_finding_stays_without_its_rule_and_a_reason(parts: dict[str, str], rules: list[str]) -> None:
    outcome = check(service(**parts), rules=[ZERO, *ABOUT_IGNORES])
    assert sorted(one.rule for one in outcome.findings) == rules


def test_a_comment_over_one_object_leaves_the_next_alone() -> None:
    first = SERVICE.format(top="# kserve-ext: ignore KX145 cron\n", annotation="", above="", behind="")
    second = SERVICE.format(top="", annotation="", above="", behind="").replace("name: digits", "name: other")
    outcome = check(Sources(manifests={"both.yaml": first + "---\n" + second}), rules=[ZERO])
    assert (len(outcome.findings), outcome.ignored) == (1, 1)
    assert outcome.findings[0].line > first.count("\n")


def test_a_comment_at_the_top_of_a_config_holds_for_all_of_it() -> None:
    text = "# kserve-ext: ignore KX406 the batch comes later\nmax_batch_size: 1\n\ndynamic_batching { }\n"
    sources = Sources(configs={"m/digits/config.pbtxt": ConfigText(text=text, model="digits")})
    assert check(sources, rules=[BY_ID["KX406"]]).ignored == 1
