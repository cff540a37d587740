"""YAML text that every parser reads the same."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.render.text import to_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


@pytest.mark.parametrize("text", ["2", "1e3", "12E5", "0x1f", "0o17", "1_000", "-1", "+.5", "12:30:00", "2024-01-01"])
def test_text_that_some_parser_reads_as_a_number_is_quoted(text: str) -> None:
    assert to_yaml({"a": text}) == f'a: "{text}"\n'


@pytest.mark.parametrize("text", ["y", "N", "yes", "On", "off", "true", "null", "~"])
def test_text_that_some_parser_reads_as_a_truth_value_is_quoted(text: str) -> None:
    assert to_yaml({"a": text}) == f'a: "{text}"\n'


@pytest.mark.parametrize("text", ["80ms", "512Mi", "2300m", "20..400rps", "pvc://models/digits", "v2"])
def test_units_and_names_stay_plain(text: str) -> None:
    assert to_yaml({"a": text}) == f"a: {text}\n"


def test_an_object_starts_with_what_it_is_and_keeps_the_order_of_the_rest() -> None:
    written = to_yaml({"data": {"z": 1, "a": 2}, "metadata": {"name": "x"}, "kind": "ConfigMap", "apiVersion": "v1"})
    assert written == "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  z: 1\n  a: 2\n"


def test_text_of_several_lines_is_a_block_and_a_value_used_twice_is_written_twice() -> None:
    shared = {"cpu": "2"}
    written = to_yaml({"text": "one\ntwo\n", "requests": shared, "limits": shared})
    assert written == 'text: |\n  one\n  two\nrequests:\n  cpu: "2"\nlimits:\n  cpu: "2"\n'
