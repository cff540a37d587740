from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kserve_ext.domain import Intent, Pins, Protocol, RateRange, Slo
from kserve_ext.errors import ManifestError, Problem
from kserve_ext.intent import ANNOTATIONS, PREFIX, read_many, read_services
from kserve_ext.intent.annotations import BY_NAME

WANTED = Intent(
    name="digits", namespace="default", model="digits", slo=Slo(p99_s=0.06), rate=RateRange(low_rps=20, high_rps=200)
)


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ManifestError) as caught:
        read_services(text, "m.yaml")
    return caught.value.problems


def faults(text: str) -> tuple[Problem, ...]:
    try:
        read_services(text, "m.yaml")
    except ManifestError as error:
        return error.problems
    return ()


def problem_of(text: str) -> Problem:
    (problem,) = problems_of(text)
    return problem


def test_two_annotations_are_enough(digits: str) -> None:
    (service,) = read_services(digits, "m.yaml")
    assert service.intent == WANTED
    assert service.manifest == yaml.safe_load(digits)
    assert service.source == "m.yaml:1"


# ------------------------------------------------------------------------------------------------ laws

durations = st.integers(1, 10**6).map(lambda ms: (f"{ms}ms", ms / 1000))
rates = st.tuples(st.integers(1, 10**4), st.integers(0, 10**4)).map(
    lambda pair: (f"{pair[0]}..{sum(pair)}rps", RateRange(low_rps=pair[0], high_rps=sum(pair)))
)
kinds = st.lists(st.sampled_from(["cpu", "gpu", "nvidia.com/gpu", "mig-1g.10gb"]), min_size=1, unique=True).map(
    lambda found: (", ".join(found), tuple(found))
)
words = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True).map(lambda word: (word, word))
annotation_sets = st.fixed_dictionaries(
    {"slo-p99": durations, "rate": rates},
    optional={
        "slo-availability": st.integers(1, 99_999).map(lambda n: (f"{Decimal(n) / 1000}%", n / 10**5)),
        "max-replicas": st.integers(1, 10**6).map(lambda n: (str(n), n)),
        "hardware": kinds,
        "cold-start-budget": durations,
        "protocol": st.sampled_from(Protocol).map(lambda protocol: (protocol.value, protocol)),
        "profile": words,
        "policy": words,
        "model": st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True).map(lambda word: (word, word)),
    },
)


@given(chosen=annotation_sets)
def test_every_valid_set_of_annotations_comes_back_as_its_values(
    digits: str, chosen: dict[str, tuple[str, Any]]
) -> None:
    manifest = yaml.safe_load(digits)
    manifest["metadata"]["annotations"] = {PREFIX + key: text for key, (text, _) in chosen.items()}
    (service,) = read_services(yaml.safe_dump(manifest, allow_unicode=True), "m.yaml")
    values = {BY_NAME[PREFIX + key].field: value for key, (_, value) in chosen.items()}
    slo = {field[4:]: value for field, value in values.items() if field.startswith("slo.")}
    rest = {field: value for field, value in values.items() if not field.startswith("slo.")}
    assert service.intent == replace(WANTED, slo=replace(WANTED.slo, **slo), **rest)


@st.composite
def misspelled(draw: st.DrawFn) -> str:
    """A key of ours after one edit that does not make it another one."""
    key = draw(st.sampled_from([row.key for row in ANNOTATIONS]))
    at = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from("abcxyz0-"))
    edit = draw(
        st.sampled_from([key[:at] + key[at + 1 :], key[:at] + letter + key[at:], key[:at] + letter + key[at + 1 :]])
    )
    return edit if PREFIX + edit not in BY_NAME else edit + "x"


@given(wrong=misspelled())
def test_every_misspelled_key_is_an_error_that_names_a_known_one(
    with_annotations: Callable[..., str], wrong: str
) -> None:
    text = with_annotations("kserve-ext.dev/slo-p99: 60ms", "kserve-ext.dev/rate: 20rps", f'"{PREFIX}{wrong}": "1"')
    problem = problem_of(text)
    assert problem.line == 8
    assert problem.field == f"metadata.annotations[{PREFIX}{wrong}]"
    assert problem.found == PREFIX + wrong
    assert any(problem.what.endswith(f"the nearest is {row.name}") for row in ANNOTATIONS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    (), ("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace"), ("spec",),
    ("metadata", "annotations"), ("metadata", "annotations", "kserve-ext.dev/rate"), ("spec", "predictor"),
    ("metadata", "annotations", "autoscaling.knative.dev/target"), ("spec", "predictor", "model"),
    ("spec", "predictor", "annotations"), ("spec", "predictor", "containers"), ("spec", "predictor", "maxReplicas"),
    ("spec", "predictor", "scaleMetric"), ("spec", "predictor", "model", "storageUri"), ("items",),
    ("spec", "predictor", "model", "resources"), ("spec", "predictor", "model", "resources", "limits"),
    ("spec", "predictor", "model", "resources", "limits", "nvidia.com/gpu"),
]  # fmt: skip


@given(place=st.sampled_from(PLACES), value=json_values)
@example(place=("spec", "predictor", "model", "resources", "limits", "nvidia.com/gpu"), value="1e999999999")
@example(place=("spec", "predictor", "model", "resources", "limits", "nvidia.com/gpu"), value="1e99999999999999999999")
@example(place=("spec", "predictor", "scaleMetric"), value=["rps"])
def test_any_value_in_any_place_is_read_or_refused(digits: str, place: tuple[str, ...], value: object) -> None:
    manifest = yaml.safe_load(digits)
    inner = manifest
    for key in place[:-1]:
        inner = inner.setdefault(key, {})
    if place:
        inner[place[-1]] = value
    else:
        manifest = value
    assert {problem.file for problem in faults(yaml.safe_dump(manifest))} <= {"m.yaml"}


@given(st.text(max_size=100))
def test_arbitrary_text_is_never_a_service_and_never_a_traceback(text: str) -> None:
    with pytest.raises(ManifestError):
        read_services(text, "m.yaml")


# ------------------------------------------------------------------------------- what is not an InferenceService


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n---\n"])
def test_an_empty_file_is_called_empty(text: str) -> None:
    assert str(problem_of(text)) == "m.yaml: empty: no YAML document in it; allowed: kind InferenceService"


def test_no_file_at_all_is_an_error() -> None:
    with pytest.raises(ManifestError, match="no manifest given"):
        read_many([])


def test_a_file_that_is_not_yaml_is_told_with_line_and_column(digits: str) -> None:
    problem = problem_of(digits + "  oops: [1\n")
    assert (problem.line, "not YAML" in problem.what, "column" in problem.what) == (14, True, True)


@pytest.mark.parametrize(("text", "found"), [("- a\n", "a list"), ("hello\n", "'hello'"), ("5\n", "5 (a number)")])
def test_what_is_not_a_mapping_is_not_an_object(text: str, found: str) -> None:
    problem = problem_of(text)
    assert (problem.what, problem.found) == ("not a Kubernetes object", found)


@pytest.mark.parametrize(("text", "found"), [("kind: Deployment\n", "'Deployment'"), ("spec: {}\n", "nothing")])
def test_another_kind_alone_is_an_error_that_names_it(text: str, found: str) -> None:
    problem = problem_of(text)
    assert (problem.line, problem.field, problem.found) == (1, "kind", found)
    assert "InferenceService" in problem.allowed


def test_other_kinds_beside_a_service_are_skipped(digits: str) -> None:
    services = read_many([("a.yaml", "kind: Secret\n"), ("b.yaml", f"kind: Deployment\n---\n{digits}---\n")])
    assert [service.source for service in services] == ["b.yaml:3"]


def test_a_list_as_kubectl_prints_it_counts_as_its_items(digits: str) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(digits), {"kind": "Pod"}]}
    (service,) = read_services(yaml.safe_dump(listed), "-")
    assert service.intent == WANTED


def test_an_error_inside_a_list_has_the_path_of_the_item(digits: str) -> None:
    listed = {"kind": "InferenceServiceList", "items": [yaml.safe_load(digits.replace("60ms", "fast"))]}
    assert problem_of(yaml.safe_dump(listed)).field == "items[0].metadata.annotations[kserve-ext.dev/slo-p99]"


def test_another_api_version_is_refused(digits: str) -> None:
    problem = problem_of(digits.replace("v1beta1", "v1alpha2"))
    assert (problem.field, problem.found, problem.allowed) == (
        "apiVersion",
        "'serving.kserve.io/v1alpha2'",
        "serving.kserve.io/v1beta1",
    )


# -------------------------------------------------------------------------------------------- name and namespace


def test_a_service_without_a_name_is_refused_at_its_metadata(digits: str) -> None:
    problem = problem_of(digits.replace("  name: digits\n", ""))
    assert (problem.line, problem.field, problem.what) == (3, "metadata.name", "missing")


@pytest.mark.parametrize("name", ["Digits", "1digits", "digits-", "di_gits", "d" * 54, "on", "5", "[a]"])
def test_a_name_that_kserve_refuses_is_refused_here(digits: str, name: str) -> None:
    problem = problem_of(digits.replace("name: digits\n", f"name: {name}\n"))
    assert (problem.line, problem.field) == (4, "metadata.name")


def test_the_namespace_is_read_and_checked(digits: str) -> None:
    (service,) = read_services(digits.replace("name: digits\n", "name: digits\n  namespace: prod\n"), "m.yaml")
    assert service.intent.namespace == "prod"
    assert (
        problem_of(digits.replace("name: digits\n", "name: digits\n  namespace: Prod\n")).field == "metadata.namespace"
    )


def test_two_services_of_one_name_in_one_namespace_are_refused_with_both_places(digits: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_many(
            [("a.yaml", digits), ("b.yaml", digits.replace("name: digits\n", "name: digits\n  namespace: default\n"))]
        )
    assert str(caught.value) == (
        "b.yaml:4: metadata.name: a second InferenceService of this name in namespace default; "
        "the first is at a.yaml:4; found 'digits'"
    )


def test_the_same_name_in_another_namespace_is_another_service(digits: str) -> None:
    other = digits.replace("name: digits\n", "name: digits\n  namespace: prod\n")
    assert [service.intent.namespace for service in read_many([("a.yaml", digits), ("b.yaml", other)])] == [
        "default",
        "prod",
    ]


# -------------------------------------------------------------------------------------------------- annotations


def test_a_service_without_our_annotations_is_told_which_two_are_needed(with_annotations: Callable[..., str]) -> None:
    problem = problem_of(with_annotations("example.com/owner: me"))
    assert (problem.line, problem.field) == (5, "metadata.annotations")
    assert problem.allowed == "at least kserve-ext.dev/slo-p99 and kserve-ext.dev/rate"


def test_a_missing_rate_is_told_with_what_it_may_be(with_annotations: Callable[..., str]) -> None:
    problem = problem_of(with_annotations("kserve-ext.dev/slo-p99: 60ms"))
    assert str(problem) == (
        "m.yaml:5: metadata.annotations[kserve-ext.dev/rate]: missing; "
        "allowed: 40rps, 600rpm, or a range such as 20..400rps"
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "found"),
    [
        ("60ms", "fast", 6, "slo-p99", "'fast'"),
        ("60ms", '"0"', 6, "slo-p99", "'0'"),
        ("60ms", "0ms", 6, "slo-p99", "'0ms'"),
        ("20..200rps", "200..20rps", 7, "rate", "'200..20rps'"),
        ("60ms", "5", 6, "slo-p99", "5 (a number)"),
        ("60ms", "true", 6, "slo-p99", "true (true or false)"),
        ("60ms", "[60ms]", 6, "slo-p99", "a list"),
        ("60ms", "", 6, "slo-p99", "nothing"),
        ("60ms", "x" * 100, 6, "slo-p99", f"'{'x' * 60}…'"),
    ],
)
def test_a_value_that_cannot_be_read_is_told_with_its_line(
    digits: str, old: str, new: str, line: int, key: str, found: str
) -> None:
    problem = problem_of(digits.replace(old, new))
    assert (problem.line, problem.field, problem.found) == (line, f"metadata.annotations[{PREFIX}{key}]", found)
    assert problem.allowed


def test_an_unknown_annotation_names_the_nearest_known_key(with_annotations: Callable[..., str]) -> None:
    problem = problem_of(with_annotations("kserve-ext.dev/slo-p9: 60ms", "kserve-ext.dev/rate: 20rps"))
    assert problem.what == "unknown annotation, the nearest is kserve-ext.dev/slo-p99"
    assert problem.found == "kserve-ext.dev/slo-p9"
    assert "cold-start-budget" in problem.allowed


@pytest.mark.parametrize("domain", ["kserve-ext.io", "kserve_ext.dev", "kserveext.dev", "kserve-ext.devs"])
def test_a_misspelled_domain_is_not_passed_over(with_annotations: Callable[..., str], domain: str) -> None:
    text = with_annotations(f"{domain}/hardware: gpu", "kserve-ext.dev/slo-p99: 60ms", "kserve-ext.dev/rate: 20rps")
    assert problem_of(text).what == "unknown annotation, the nearest is kserve-ext.dev/hardware"


def test_kserves_own_annotations_are_left_alone(with_annotations: Callable[..., str]) -> None:
    lines = (
        "serving.kserve.io/deploymentMode: Knative",
        "kserve-ext.dev/slo-p99: 60ms",
        "kserve-ext.dev/rate: 20..200rps",
    )
    (service,) = read_services(with_annotations(*lines), "m.yaml")
    assert service.intent == WANTED


def test_an_annotation_on_the_predictor_is_in_the_wrong_place(digits: str) -> None:
    problem = problem_of(digits + "    annotations:\n      kserve-ext.dev/hardware: gpu\n")
    assert (problem.line, problem.allowed) == (14, "metadata.annotations[kserve-ext.dev/hardware]")


def test_the_same_annotation_twice_is_refused(with_annotations: Callable[..., str]) -> None:
    problem = problem_of(with_annotations("kserve-ext.dev/rate: 1rps", "kserve-ext.dev/rate: 2rps"))
    assert (problem.line, problem.what) == (7, "a key that stands twice in one mapping")


def test_all_problems_of_all_files_are_told_at_once_in_their_order(digits: str) -> None:
    bad = digits.replace("60ms", "fast").replace("20..200rps", "2..1rps") + "    timeout: soon\n"
    with pytest.raises(ManifestError) as caught:
        read_many(
            [
                ("a.yaml", bad),
                ("b.yaml", ""),
                ("c.yaml", "a: b: c"),
                ("d.yaml", digits.replace("60ms", "0s").replace("name: digits", "name: other")),
            ]
        )
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [
        ("a.yaml", 6), ("a.yaml", 7), ("a.yaml", 13), ("b.yaml", None), ("c.yaml", 1), ("d.yaml", 6),
    ]  # fmt: skip
    assert "kserve-ext schema" in caught.value.remedy


# --------------------------------------------------------------------------------------------- the model's name


@pytest.mark.parametrize(
    ("uri", "model"),
    [
        ("pvc://models/mnist", "mnist"),
        ("gs://bucket/a/b/mnist_v2/", "mnist_v2"),
        ("hf://org/mnist", "mnist"),
        ("s3://bucket", "digits"),
        ("pvc://models/", "digits"),
        ("oci://place/image:tag", "digits"),
        ("https://place/model.onnx", "digits"),
        ("gs://bucket/mnist/1", "digits"),
        ("no uri", "digits"),
    ],
)
def test_the_model_is_the_last_part_of_the_storage_uri_or_the_name(digits: str, uri: str, model: str) -> None:
    (service,) = read_services(digits.replace("pvc://models/digits", uri), "m.yaml")
    assert service.intent.model == model


def test_the_model_annotation_wins_over_the_storage_uri(with_annotations: Callable[..., str]) -> None:
    lines = ("kserve-ext.dev/slo-p99: 60ms", "kserve-ext.dev/rate: 20rps", "kserve-ext.dev/model: other")
    (service,) = read_services(with_annotations(*lines), "m.yaml")
    assert service.intent.model == "other"


def test_a_service_without_a_storage_uri_is_named_by_itself(digits: str) -> None:
    (service,) = read_services(digits.replace("      storageUri: pvc://models/digits\n", ""), "m.yaml")
    assert (service.intent.model, service.intent.pins) == ("digits", Pins())


def test_what_the_linter_is_told_is_no_annotation_of_the_service(with_annotations: Callable[..., str]) -> None:
    lines = ("kserve-ext.dev/slo-p99: 60ms", "kserve-ext.dev/rate: 20rps")
    (plain,) = read_services(with_annotations(*lines), "m.yaml")
    (told,) = read_services(with_annotations(*lines, "kserve-ext.dev/lint-ignore: KX145 woken by a cron job"), "m.yaml")
    assert told.intent == plain.intent
