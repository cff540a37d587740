"""Where fields of a config.pbtxt stand, and what is unknown in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.lint.config import fields_of, read_config

TEXT = """\
# by hand
name: "digits" backend: "onnx" "runtime"
input [
  { name: "x"  dims: [ 1, 2 ] },
  { name: "y { not a brace"
    dims: [ ] }
]
dynamic_batching < max_queue_delay_microseconds: 100 >
parameters { key: "a" value { string_value: "1" } }
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ("name", 2, 1), ("backend", 2, 16), ("input", 4, 1), ("input.dims", 4, 16), ("input[1].dims", 6, 5),
        ("dynamic_batching.max_queue_delay_microseconds", 8, 20), ("parameters.value.string_value", 9, 31),
    ],
)  # fmt: skip
def test_every_field_has_its_place(path: str, line: int, column: int) -> None:
    config = read_config(TEXT, "config.pbtxt", model="digits")
    found = config.find(path)
    assert found is not None
    if path != "input":  # written once for both of its entries
        assert (found.line, found.column) == (line, column)
    assert config.fault is None
    assert config.backend == "onnxruntime"


def test_every_unknown_field_is_found_with_the_nearest_one() -> None:
    text = 'max_batch: 8\ninput {\n  name: "x"\n  datatype: TYPE_FP32\n}\nquite_something_else: 1\n'
    config = read_config(text, "config.pbtxt", model="digits")
    said = [(one.written.line, one.written.column, one.written.name, one.nearest) for one in config.unknown]
    assert said[:2] == [(1, 1, "max_batch", "max_batch_size"), (4, 3, "datatype", "data_type")]
    assert [one.message for one in config.unknown] == ["ModelConfig", "ModelInput", "ModelConfig"]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("max_batch_size: 8\ninput { name: ", 2, 8), ("input [ { dims: 1 }", 1, 19),
        ("instance_group { kind: KIND_TPU }", 1, 24), ("max_batch_size 8", 1, 16),
    ],
)  # fmt: skip
def test_a_text_that_is_none_has_a_fault_with_its_place(text: str, line: int, column: int) -> None:
    config = read_config(text, "config.pbtxt", model="digits")
    assert config.fault is not None
    assert config.fault.line == line
    assert config.fault.column >= 1
    assert config.fault.what


@given(st.text(alphabet='ab{}[]<>:,;"# \n1', max_size=60))
def test_any_text_can_be_scanned(text: str) -> None:
    for top in fields_of(text):
        for field in top.walk():
            assert 1 <= field.line <= text.count("\n") + 1
            assert 0 <= field.value_start <= len(text)
