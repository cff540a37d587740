from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from factories import profile, profiles, stage_profile
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Profile, Quantiles, ServicePoint, StageProfile
from kserve_ext.errors import ProfileError
from kserve_ext.profile import store

numbers = st.floats(0, 1e300)
positive = st.floats(1e-300, 1e300)
counts = st.integers(1, 2**40)
texts = st.text(max_size=20)


@st.composite
def any_quantiles(draw: st.DrawFn) -> Quantiles:
    size = draw(st.integers(1, 5))
    probabilities = sorted(draw(st.lists(st.floats(0, 1), min_size=size, max_size=size)))
    values = sorted(draw(st.lists(numbers, min_size=size, max_size=size)))
    return Quantiles(probabilities=tuple(probabilities), values=tuple(values))


points = st.builds(
    ServicePoint, batch=counts, instances=counts, requests=counts, count=counts, mean_s=positive,
    quantiles_s=any_quantiles(), server_compute_s=numbers,
)  # fmt: skip
stages = st.builds(
    StageProfile, model=texts, max_batch=st.integers(0, 512), points=st.lists(points, min_size=1, max_size=3).map(tuple),
    memory_loaded_bytes=numbers, memory_peak_bytes=numbers,
)  # fmt: skip
any_profiles = st.builds(
    Profile, model=texts, hardware=texts, model_digest=texts, stages=st.lists(stages, min_size=1, max_size=2).map(tuple),
    overhead_s=any_quantiles(), load_s=numbers, cpu_per_request_s=numbers, memory_server_bytes=numbers,
    host=st.dictionaries(texts, texts, max_size=3), versions=st.dictionaries(texts, texts, max_size=3),
    measured_at=texts,
)  # fmt: skip


@given(any_profiles)
def test_a_profile_that_is_written_and_read_is_the_same_to_the_last_digit(measured: Profile) -> None:
    text = store.dump(measured)
    assert store.load(text, "p.json") == measured
    assert store.dump(store.load(text, "p.json")) == text


@given(profiles)
def test_a_measured_profile_is_one_line_per_point_and_ends_in_a_newline(measured: Profile) -> None:
    text = store.dump(measured)
    lines = [line for line in text.splitlines() if line.startswith('    {"batch": ')]
    assert len(lines) == sum(len(stage.points) for stage in measured.stages)
    assert text.endswith("\n}\n")
    assert json.loads(text)["schema_version"] == store.SCHEMA_VERSION


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    record = json.loads(store.dump(profile(stage_profile(), stage_profile("second"))))
    change(record)
    return json.dumps(record)


def refusal(text: str, *, model: str | None = None) -> str:
    with pytest.raises(ProfileError) as caught:
        store.load(text, "p.json", model=model)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r.pop("load_s"), "p.json: load_s: Field required"),
        (lambda r: r["stages"][1].pop("points"), "p.json: stages.1.points: Field required"),
        (lambda r: r.update(load_s="fast"), "p.json: load_s: Input should be a valid number; found 'fast'"),
        (lambda r: r.update(load_s=True), "p.json: load_s: Input should be a valid number; found True"),
        (lambda r: r.update(stages={}), "p.json: stages: Input should be a valid array"),
        (lambda r: r["stages"][0]["points"][2].update(batch=1.5), "p.json: stages.0.points.2.batch: Input should be"),
        (lambda r: r["stages"][0]["points"][2].update(mean_ms=1), "p.json: stages.0.points.2.mean_ms: unknown field"),
        (lambda r: r.update(comment="by hand"), "p.json: comment: unknown field; allowed: cpu_per_request_s, hardware"),
        (lambda r: r.update(stages=[]), "p.json: stages: at least one is needed"),
        (lambda r: r["stages"][0].update(points=[]), "p.json: stages.0.points: at least one is needed"),
        (lambda r: r.update(load_s=-1), "p.json: load_s: a number from 0 up is needed"),
        (lambda r: r.update(load_s=float("nan")), "p.json: load_s: a number from 0 up is needed"),
        (lambda r: r.update(load_s=float("inf")), "p.json: load_s: a number from 0 up is needed"),
        (lambda r: r["stages"][0]["points"][0].update(mean_s=0), "stages.0.points.0.mean_s: a number above zero is"),
        (lambda r: r["stages"][0]["points"][0].update(count=0), "stages.0.points.0.count: a number from 1 up is"),
        (lambda r: r["overhead_s"].update(values=[1]), "p.json: overhead_s: as many values as probabilities are needed"),
        (lambda r: r["overhead_s"].update(values=[2, 1]), "p.json: overhead_s.values: must not fall"),
        (lambda r: r["overhead_s"].update(values=[], probabilities=[]), "overhead_s.probabilities: at least one is"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(change: Callable[[dict[str, Any]], object], says: str) -> None:
    assert says in refusal(changed(change))


def test_every_wrong_field_is_named_not_only_the_first() -> None:
    text = changed(lambda record: record.update(load_s="fast", host=7, stages="none"))
    assert [line.split(": ")[1] for line in refusal(text).splitlines()] == ["stages", "load_s", "host"]


@pytest.mark.parametrize("version", [None, 0, 2, "1", [1]])
def test_another_schema_version_is_refused_with_both_versions(version: object) -> None:
    says = refusal(changed(lambda record: record.update(schema_version=version)))
    assert says == f"p.json: schema_version: a profile this version cannot read; found {version}; allowed: 1"


def test_a_profile_of_another_model_is_refused_with_both_names() -> None:
    text = store.dump(profile())
    assert store.load(text, "p.json", model="m") == profile()
    assert refusal(text, model="digits") == "p.json: model: a profile of another model; found m; allowed: digits"


@pytest.mark.parametrize("cut", [0, 1, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused_with_the_line_where_it_ends(cut: float) -> None:
    text = store.dump(profile())
    kept = text[: int(len(text) * cut)] if cut != 1 else text[:-3]
    line = kept.count("\n") + 1
    assert f"p.json:{line}: not JSON: " in refusal(kept)


@pytest.mark.parametrize(("text", "found"), [("[]", "list"), ("7", "int"), ("null", "NoneType"), ('"profile"', "str")])
def test_json_that_is_no_object_is_refused(text: str, found: str) -> None:
    assert refusal(text) == f"p.json: not a profile; found {found}; allowed: an object"
