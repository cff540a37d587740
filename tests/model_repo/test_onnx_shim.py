"""The shared model.py that runs ONNX in the python backend: its joining and splitting, without Triton around it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SHIM = Path(__file__).parents[2] / "kserve_ext" / "triton" / "shim" / "onnx_model.py"
TYPES = {"TYPE_FP32": TensorProto.FLOAT, "TYPE_INT64": TensorProto.INT64, "TYPE_STRING": TensorProto.STRING}

Start = Callable[..., Any]


@pytest.fixture
def shim(backend: Any, load: Callable[[Path], ModuleType]) -> ModuleType:
    return load(SHIM)


@pytest.fixture
def start(shim: ModuleType, tmp_path: Path) -> Start:
    """Write a small ONNX file and its configuration, and load both as Triton would."""

    def start(
        nodes: list[Any],
        inputs: dict[str, str],
        outputs: dict[str, str],
        *,
        constants: tuple[Any, ...] = (),
        axes: tuple[Any, ...] = ("batch", "width"),
        max_batch_size: int = 8,
        filename: str = "model.onnx",
        **changes: Any,
    ) -> Any:
        def described(tensors: dict[str, str]) -> list[Any]:
            return [helper.make_tensor_value_info(name, TYPES[kind], axes) for name, kind in tensors.items()]

        graph = helper.make_graph(nodes, "small", described(inputs), described(outputs), list(constants))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (tmp_path / "1").mkdir(exist_ok=True)
        onnx.save(model, tmp_path / "1" / filename)
        config = {
            "max_batch_size": max_batch_size,
            "input": [{"name": name, "data_type": kind} for name, kind in inputs.items()],
            "output": [{"name": name, "data_type": kind} for name, kind in outputs.items()],
        }
        return loaded(shim, tmp_path, config | changes)

    return start


def loaded(shim: ModuleType, folder: Path, config: dict[str, Any]) -> Any:
    model = shim.TritonPythonModel()
    model.initialize({"model_repository": str(folder), "model_version": "1", "model_config": json.dumps(config)})
    return model


@pytest.fixture
def sum_and_difference(start: Start) -> Any:
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    return start(nodes, {"a": "TYPE_FP32", "b": "TYPE_FP32"}, {"sum": "TYPE_FP32", "difference": "TYPE_FP32"})


@pytest.fixture
def lookup(start: Start) -> Any:
    """A table of four rows: an index beyond it fails inside onnxruntime."""
    table = numpy_helper.from_array(np.arange(4, dtype=np.float32), "table")
    node = helper.make_node("Gather", ["table", "index"], ["value"])
    return start([node], {"index": "TYPE_INT64"}, {"value": "TYPE_FP32"}, constants=(table,))


@pytest.mark.parametrize("rows", [(1,), (1, 1, 1), (3, 1, 2), (8,), (2, 0, 1)])
def test_every_request_of_a_batch_gets_its_own_rows(
    sum_and_difference: Any, backend: Any, rows: tuple[int, ...]
) -> None:
    a = [np.full((count, 3), index, np.float32) for index, count in enumerate(rows)]
    b = [np.full((count, 3), 10, np.float32) for count in rows]
    requests = [backend.request("sum", "difference", a=x, b=y) for x, y in zip(a, b, strict=True)]
    answers = sum_and_difference.execute(requests)
    assert len(answers) == len(rows)
    for x, y, answer in zip(a, b, answers, strict=True):
        np.testing.assert_array_equal(answer.arrays()["sum"], x + y)
        np.testing.assert_array_equal(answer.arrays()["difference"], x - y)


def test_a_batch_is_one_run(sum_and_difference: Any, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[list[str]] = []
    session = sum_and_difference.session

    class Counting:
        def run(self, names: list[str], feed: dict[str, Any]) -> Any:
            runs.append(names)
            return session.run(names, feed)

    monkeypatch.setattr(sum_and_difference, "session", Counting())
    ones = np.ones((1, 3), np.float32)
    sum_and_difference.execute([backend.request("sum", a=ones, b=ones) for _ in range(5)])
    assert runs == [["sum"]]


def test_only_the_outputs_asked_for_are_sent(sum_and_difference: Any, backend: Any) -> None:
    ones = np.ones((1, 3), np.float32)
    wanted = [("sum",), ("difference",), ("difference", "sum")]
    answers = sum_and_difference.execute([backend.request(*some, a=ones, b=ones) for some in wanted])
    assert [tuple(answer.arrays()) for answer in answers] == wanted


def test_who_is_answered_does_not_depend_on_the_company(lookup: Any, backend: Any) -> None:
    for pattern in itertools.product((0, 99), repeat=5):
        answers = lookup.execute([backend.request("value", index=np.array([[index]])) for index in pattern])
        assert [answer.error is None for answer in answers] == [index == 0 for index in pattern]


def test_a_batch_of_failures_costs_at_most_two_runs_a_request(
    shim: ModuleType, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def run(requests: list[Any]) -> list[Any]:
        sizes.append(len(requests))
        raise ValueError("bad")

    model = shim.TritonPythonModel()
    monkeypatch.setattr(model, "errors", (ValueError,), raising=False)
    monkeypatch.setattr(model, "_run", run)
    answers = model._answers([backend.request() for _ in range(32)])
    assert [answer.error for answer in answers] == ["bad"] * 32
    assert len(sizes) == 2 * 32 - 1


def test_a_request_that_fails_does_not_fail_its_neighbours(lookup: Any, backend: Any) -> None:
    indices = [[0], [1], [99], [2], [3], [-77]]
    answers = lookup.execute([backend.request("value", index=np.array([index])) for index in indices])
    assert [answer.error is None for answer in answers] == [True, True, False, True, True, False]
    assert [float(answer.arrays()["value"][0, 0]) for answer in answers if not answer.error] == [0, 1, 2, 3]
    assert "indices element out of data bounds, idx=99" in answers[2].error


def test_rows_that_cannot_be_joined_are_run_apart(lookup: Any, backend: Any) -> None:
    shapes = [np.array([[1]]), np.array([[2, 3]])]
    answers = lookup.execute([backend.request("value", index=index) for index in shapes])
    assert [answer.arrays()["value"].tolist() for answer in answers] == [[[1.0]], [[2.0, 3.0]]]


def test_text_goes_in_and_out_as_text(start: Start, backend: Any) -> None:
    node = helper.make_node("Identity", ["text"], ["same"])
    model = start([node], {"text": "TYPE_STRING"}, {"same": "TYPE_STRING"})
    texts = ["plain", "größer", "猫", ""]
    requests = [backend.request("same", text=np.array([[text.encode()]], dtype=object)) for text in texts]
    assert [answer.arrays()["same"].tolist() for answer in model.execute(requests)] == [[[text]] for text in texts]


def test_text_that_is_not_utf8_fails_alone(start: Start, backend: Any) -> None:
    node = helper.make_node("Identity", ["text"], ["same"])
    model = start([node], {"text": "TYPE_STRING"}, {"same": "TYPE_STRING"})
    texts = [np.array([[text]], dtype=object) for text in (b"good", b"\xff", b"fine")]
    answers = model.execute([backend.request("same", text=text) for text in texts])
    assert [answer.error is None for answer in answers] == [True, False, True]


def test_without_batching_requests_run_one_by_one_and_keep_their_shape(start: Start, backend: Any) -> None:
    node = helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)
    model = start([node], {"x": "TYPE_FP32"}, {"total": "TYPE_FP32"}, axes=(), max_batch_size=0)
    answers = model.execute([backend.request("total", x=np.ones(size, np.float32)) for size in (2, 5)])
    assert [answer.arrays()["total"].tolist() for answer in answers] == [2.0, 5.0]


def test_an_output_without_a_row_for_each_row_is_an_error_that_says_what_to_set(start: Start, backend: Any) -> None:
    node = helper.make_node("ReduceSum", ["x"], ["total"], keepdims=1)
    model = start([node], {"x": "TYPE_FP32"}, {"total": "TYPE_FP32"})
    ones = np.ones((2, 3), np.float32)
    (answer,) = model.execute([backend.request("total", x=ones)])
    assert answer.error == "output total has shape [1, 1] for a batch of 2 rows: set max_batch_size to 0"


IDENTITY = [helper.make_node("Identity", ["x"], ["y"])]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": [{"name": "z", "data_type": "TYPE_FP32"}]}, r"input z: model.onnx has no such input; there are: x"),
        ({"output": [{"name": "z", "data_type": "TYPE_FP32"}]}, r"output z: model.onnx has no such output"),
        ({"input": [{"name": "x", "data_type": "TYPE_INT32"}]}, r"input x: data_type: found INT32, .* tensor\(float\)"),
        (
            {"parameters": {"onnx_filename": {"string_value": "other.onnx"}}},
            r"onnx_filename: .*other.onnx does not exist",
        ),
        ({"parameters": {"intra_op_thread_count": {"string_value": "two"}}}, r"intra_op_thread_count: found 'two'"),
    ],
)
def test_a_configuration_that_does_not_fit_names_the_field(
    start: Start, backend: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(backend.ModelError, match=message):
        start(IDENTITY, {"x": "TYPE_FP32"}, {"y": "TYPE_FP32"}, **changes)


def test_the_file_is_the_one_the_configuration_names(start: Start) -> None:
    named = {"default_model_filename": "model.py", "parameters": {"onnx_filename": {"string_value": "other.onnx"}}}
    model = start(IDENTITY, {"x": "TYPE_FP32"}, {"y": "TYPE_FP32"}, filename="other.onnx", **named)
    assert model.inputs == ["x"]


@pytest.mark.parametrize(("parameters", "threads"), [({}, 1), ({"intra_op_thread_count": {"string_value": "2"}}, 2)])
def test_threads_come_from_the_configuration_and_do_not_spin(
    start: Start, parameters: dict[str, Any], threads: int
) -> None:
    model = start(IDENTITY, {"x": "TYPE_FP32"}, {"y": "TYPE_FP32"}, parameters=parameters)
    options = model.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_the_shim_stands_alone() -> None:
    assert "kserve_ext" not in SHIM.read_text().split('"""', 2)[2]
