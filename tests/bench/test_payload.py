from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.bench.payload import Sample, TensorSpec, generate_samples, load_samples, stack
from kserve_ext.bench.tensor import Tensor
from kserve_ext.errors import InputError


def _row(value: float) -> Sample:
    return Sample(inputs=(Tensor(name="x", datatype="FP32", data=np.full((1, 2), value, np.float32)),))


def test_samples_are_read_with_their_shapes_and_types() -> None:
    text = json.dumps(
        [
            {
                "inputs": [
                    {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]},
                    {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [["héllo"]]},
                ]
            }
        ]
    )
    (sample,) = load_samples(text, "samples.json")
    assert sample.inputs[0].data.tolist() == [[1.0, 2.5]]
    assert sample.inputs[0].data.dtype == np.float32
    assert sample.inputs[1].data.tolist() == [["héllo".encode()]]


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"name": "x", "shape": [1], "datatype": "FP32"}, "data missing"),
        ({"name": "x", "shape": [1], "datatype": "FLOAT", "data": [1]}, "unknown datatype 'FLOAT'; allowed: BOOL"),
        ({"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2]}, r"2 values do not fill shape \[1, 3\]"),
        ({"name": "x", "shape": "1", "datatype": "FP32", "data": [1]}, "is not a list of sizes"),
        ({"name": "x", "shape": [-1], "datatype": "FP32", "data": [1]}, "is not a list of sizes"),
        ({"name": "x", "shape": [1], "datatype": "FP32", "data": ["1"]}, '"1" is not FP32'),
        ({"name": "x", "shape": [1], "datatype": "FP32", "data": [None]}, "null is not FP32"),
        ({"name": "x", "shape": [1], "datatype": "INT64", "data": [1.5]}, "1.5 is not INT64"),
        ({"name": "x", "shape": [1], "datatype": "UINT8", "data": [256]}, "values outside UINT8: 0 to 255"),
        ({"name": "x", "shape": [1], "datatype": "BYTES", "data": [1]}, "BYTES data must be strings"),
        ("x", "name, shape, datatype, data missing"),
    ],
)
def test_a_bad_input_names_file_field_and_fault(item: object, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        load_samples(json.dumps([{"inputs": [item]}]), "samples.json")
    assert str(caught.value).startswith("samples.json: [0].inputs[0]: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[\n{,]", "samples.json:2: not JSON"),
        ("[]", "no samples; found an empty list"),
        ("{}", "no samples; found dict"),
        ('[{"inputs": []}]', r"\[0\].inputs: no inputs"),
        ("[1]", r"\[0\].inputs: no inputs"),
    ],
)
def test_a_bad_samples_file_says_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        load_samples(text, "samples.json")
    assert 'a list of {"inputs":' in str(caught.value)


def test_every_fault_of_a_samples_file_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        load_samples('[{"inputs": [{}]}, {}, {"inputs": [{}]}]', "samples.json")
    assert len(caught.value.problems) == 3


def test_generated_samples_are_the_same_every_time_and_in_range() -> None:
    specs = [
        TensorSpec(name="x", datatype="FP32", shape=(-1, 3)),
        TensorSpec(name="i", datatype="INT64", shape=(-1, 2)),
    ]
    first, second = (generate_samples(specs, batched=True, count=4) for _ in range(2))
    assert [t.shape for t in first[0].inputs] == [(1, 3), (1, 2)]
    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(a.data, b.data) for a, b in zip(one.inputs, other.inputs, strict=True))
    assert not np.array_equal(first[0].inputs[0].data, first[1].inputs[0].data)
    assert {int(v) for s in first for v in s.inputs[1].data.ravel()} <= {0, 1}


@pytest.mark.parametrize(
    ("spec", "batched", "told"),
    [
        (TensorSpec(name="x", datatype="FP32", shape=(-1, -1)), True, "open dimensions"),
        (TensorSpec(name="x", datatype="FP32", shape=(-1, 2)), False, "open dimensions"),
        (TensorSpec(name="x", datatype="BYTES", shape=(-1, 1)), True, "content unknown; found BYTES"),
    ],
)
def test_inputs_that_cannot_be_guessed_ask_for_a_samples_file(spec: TensorSpec, batched: bool, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        generate_samples([spec], batched=batched)
    assert "samples.json" in caught.value.remedy


@given(count=st.integers(1, 12), batch=st.integers(1, 20))
def test_stacking_uses_every_sample_in_order_and_fills_every_request(count: int, batch: int) -> None:
    requests = stack([_row(i) for i in range(count)], batch)
    rows = np.concatenate([request.inputs[0].data for request in requests])[:, 0].tolist()
    assert all(request.inputs[0].shape == (batch, 2) for request in requests)
    assert rows == [i % count for i in range(len(rows))]
    assert len(rows) - batch < count <= len(rows)


def test_a_sample_of_several_rows_cannot_be_stacked() -> None:
    two = Sample(inputs=(Tensor(name="x", datatype="FP32", data=np.zeros((2, 2), np.float32)),))
    with pytest.raises(InputError, match="sample 1 is not one row"):
        stack([_row(0), two], 4)


def test_rows_of_different_shapes_go_into_different_requests() -> None:
    longer = Sample(inputs=(Tensor(name="x", datatype="FP32", data=np.zeros((1, 3), np.float32)),))
    requests = stack([_row(0), longer, _row(1)], 2)
    assert [request.inputs[0].shape for request in requests] == [(2, 2), (2, 3)]
