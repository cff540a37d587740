"""Service times written by hand: what is read, and what is refused with the path of the field."""

from __future__ import annotations

import json

import pytest
from factories import profile

from kserve_ext.domain import Profile
from kserve_ext.errors import ProfileError
from kserve_ext.profile import store
from kserve_ext.profile.service_law import OneAtATime, as_profile, mean_of, read

LOGNORMAL = {"distribution": "lognormal", "loc": 0.08, "scale": 0.07, "shape": 0.42}
POINTS = [{"batch": 1, "mean_s": 0.005}, {"batch": 8, **LOGNORMAL}]


def law(service_time: object, **rest: object) -> OneAtATime | Profile:
    return read(json.dumps({"service_time": service_time, **rest}), "law.json")


@pytest.mark.parametrize(
    ("service_time", "mean_s"),
    [
        (LOGNORMAL, 0.1564545),
        ({"mean_s": 0.15}, 0.15),
        ({"quantiles_s": {"probabilities": [0.5], "values": [0.2]}}, 0.2),
        ({"quantiles_s": {"probabilities": [0.0, 1.0], "values": [0.1, 0.3]}}, 0.2),
        ({"mean_s": 0.3, "quantiles_s": {"probabilities": [0.5], "values": [0.2]}}, 0.3),
    ],
)
def test_one_request_at_a_time_is_a_distribution_a_number_or_quantiles(service_time: object, mean_s: float) -> None:
    found = law(service_time, load_s=12.0)
    assert isinstance(found, OneAtATime)
    assert (mean_of(found.time), found.load_s) == (pytest.approx(mean_s), 12.0)


def test_points_make_a_profile_with_a_law_for_each_batch() -> None:
    found = law(POINTS, overhead_s=0.001, load_s=3.0)
    assert isinstance(found, Profile)
    (stage,) = found.stages
    assert [(point.batch, point.requests) for point in stage.points] == [(1, 1), (8, 8)]
    assert stage.points[1].mean_s == pytest.approx(0.1564545)
    assert (stage.max_batch, found.overhead_s.values, found.load_s) == (8, (0.001,), 3.0)


def test_quantiles_of_a_lognormal_point_have_its_mean() -> None:
    found = law(POINTS)
    assert isinstance(found, Profile)
    quantiles = found.stages[0].points[1].quantiles_s
    assert sum(quantiles.values) / len(quantiles.values) == pytest.approx(0.1564545, rel=0.002)


def test_a_measured_profile_is_read_as_it_is() -> None:
    measured = profile()
    assert read(store.dump(measured), "p.json") == measured


def test_a_law_as_a_profile_serves_one_at_a_time() -> None:
    found = law(LOGNORMAL, load_s=7.0)
    assert isinstance(found, OneAtATime)
    made = as_profile(found)
    assert (made.stages[0].max_batch, made.load_s) == (1, 7.0)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", ["law.json:1", "not JSON"]),
        ("[]", ["not a profile", "list"]),
        ("{}", ["service_time", "missing"]),
        ('{"service_time": 3}', ["service_time", "found 3"]),
        ('{"service_time": {}}', ["mean_s or quantiles_s"]),
        ('{"service_time": {"mean_s": 0}}', ["service_time.mean_s", "above zero"]),
        ('{"service_time": {"mean_s": "fast"}}', ["service_time.mean_s", "'fast'"]),
        ('{"service_time": {"distribution": "gamma"}}', ["service_time.distribution", "lognormal"]),
        ('{"service_time": {"distribution": "lognormal", "scale": 1}}', ["service_time.shape"]),
        ('{"service_time": {"distribution": "lognormal", "scale": 0, "shape": 1}}', ["service_time.scale"]),
        ('{"service_time": {"distribution": "lognormal", "loc": -1, "scale": 1, "shape": 1}}', ["service_time.loc"]),
        ('{"service_time": {"quantiles_s": {"probabilities": [0.9, 0.5], "values": [1, 2]}}}', ["must not fall"]),
        ('{"service_time": {"mean_s": 1}, "overhead_s": 1}', ["overhead_s", "whole of the request"]),
        ('{"service_time": {"mean_s": 1}, "load_s": -1}', ["load_s", "-1"]),
        ('{"service_time": {"mean_s": 1}, "speed": 1}', ["speed", "unknown field"]),
        ('{"service_time": []}', ["service_time", "at least one point"]),
        ('{"service_time": [{"mean_s": 1}]}', ["service_time.0.batch", "missing"]),
        ('{"service_time": [{"batch": 0, "mean_s": 1}]}', ["service_time.0.batch", "found 0"]),
        ('{"service_time": [{"batch": 1, "mean_s": 1}, {"batch": 1, "mean_s": 2}]}', ["service_time.1", "twice"]),
        ('{"service_time": [{"batch": 1, "mean": 1}]}', ["service_time.0.mean"]),
    ],
)
def test_a_fault_is_named_with_its_field(text: str, named: list[str]) -> None:
    with pytest.raises(ProfileError) as refused:
        read(text, "law.json")
    assert all(word in str(refused.value) for word in ["law.json", *named]), str(refused.value)


def test_every_fault_is_named_not_only_the_first() -> None:
    with pytest.raises(ProfileError) as refused:
        read('{"service_time": [{"batch": 1}, {"batch": 2, "mean_s": -1}], "load_s": "x"}', "law.json")
    assert {problem.field for problem in refused.value.problems} == {
        "service_time.0", "service_time.1.mean_s", "load_s",
    }  # fmt: skip
