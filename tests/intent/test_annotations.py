from __future__ import annotations

import dataclasses
import re

import pytest

from kserve_ext.domain import Intent, Protocol, RateRange, Slo
from kserve_ext.intent import ANNOTATIONS, PREFIX, annotations_markdown
from kserve_ext.intent.annotations import BY_NAME, nearest_name, parse_annotation

ACCEPTED = [
    ("slo-p99", "80ms", 0.08),
    ("slo-p99", "1m30s", 90.0),
    ("slo-p99", "500µs", 0.0005),
    ("rate", "40rps", RateRange(low_rps=40, high_rps=40)),
    ("rate", "20..400rps", RateRange(low_rps=20, high_rps=400)),
    ("rate", "600rpm", RateRange(low_rps=10, high_rps=10)),
    ("slo-availability", "99.9%", 0.999),
    ("slo-availability", "0.95", 0.95),
    ("max-replicas", "10", 10),
    ("hardware", "cpu", ("cpu",)),
    ("hardware", "a100-1g.10gb, nvidia.com/mig-1g.10gb,cpu", ("a100-1g.10gb", "nvidia.com/mig-1g.10gb", "cpu")),
    ("cold-start-budget", "30s", 30.0),
    ("protocol", "grpc", Protocol.GRPC),
    ("model", "yolo-v1.5", "yolo-v1.5"),
    ("profile", "my profiles/digits.json", "my profiles/digits.json"),
    ("policy", "default", "default"),
    ("policy", "my_pkg.rules:cheap", "my_pkg.rules:cheap"),
]

REFUSED = [
    ("slo-p99", ["", "0", "0ms", "fast", "80", "-80ms", "80 ms", "80MS", "1e3ms", "9" * 400 + "h", "80ms\n"]),
    ("rate", ["", "0rps", "fast", "400..20rps", "20..", "..20", "-1rps", "1..2..3", "9" * 400 + "rps", "0..10rps"]),
    ("slo-availability", ["", "100%", "0%", "1", "99.9", "0", "1.0", "150%", "-5%", "high", "0.0"]),
    ("max-replicas", ["", "0", "-1", "1.5", "ten", "01", "9" * 10, "1\n"]),
    ("hardware", ["", ",", "cpu,", "CPU", "cpu,cpu", "../cpu", "a//b", "-gpu", "gpu b"]),
    ("cold-start-budget", ["", "0s", "30"]),
    ("protocol", ["", "REST", "http", "rest,grpc"]),
    ("model", ["", "a/b", "..", ".hidden", "a b"]),
    ("profile", ["", " ", "a\nb"]),
    ("policy", ["", "a b", "module:", ":function", "a:b:c", "1a:b"]),
]


@pytest.mark.parametrize(("key", "text", "value"), ACCEPTED)
def test_an_annotation_is_read(key: str, text: str, value: object) -> None:
    assert parse_annotation(PREFIX + key, text) == value


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in REFUSED for text in texts])
def test_a_value_out_of_range_is_refused_with_what_is_allowed(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_annotation(PREFIX + key, text)


@pytest.mark.parametrize("row", ANNOTATIONS, ids=lambda row: row.key)
def test_every_row_holds_what_it_says(row: object) -> None:
    assert row in ANNOTATIONS
    for example in row.examples:
        parse_annotation(row.name, example)
    assert row.required != bool(row.default)
    assert row.doc.endswith(".")
    re.compile(row.pattern)


def test_every_row_has_a_field_of_the_intent_to_go_to() -> None:
    fields = {field.name for field in dataclasses.fields(Intent)} | {f"slo.{f.name}" for f in dataclasses.fields(Slo)}
    assert {row.field for row in ANNOTATIONS} <= fields
    assert len({row.field for row in ANNOTATIONS}) == len(ANNOTATIONS) == len(BY_NAME)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("slo-p9", "slo-p99"), ("p99", "slo-p99"), ("replicas", "max-replicas"), ("rates", "rate"), ("modle", "model")],
)
def test_the_nearest_name_is_the_one_that_was_meant(wrong: str, near: str) -> None:
    assert nearest_name(PREFIX + wrong) == PREFIX + near


def test_the_markdown_table_has_a_line_for_every_annotation() -> None:
    lines = annotations_markdown().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == [row.name for row in ANNOTATIONS]
