"""An ONNX model on a server that has only the python backend answers what onnxruntime answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_ext.render.pbtxt import parse_config, with_batching
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.find import find_server
from kserve_ext.triton.repository import read_config, stage
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.triton

CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x", data_type: TYPE_FP32, dims: [ 5 ] } ]
output [ { name: "y", data_type: TYPE_FP32, dims: [ 3 ] } ]
instance_group [ { kind: KIND_CPU, count: 1 } ]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with one ONNX model, y = relu(x W + b), under a file name of its own."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(7)
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("W", (5, 3)), ("b", (3,)))
    ]
    nodes = [helper.make_node("Gemm", ["x", "W", "b"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 5])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])]
    graph = helper.make_graph(nodes, "layer", inputs, outputs, weights)
    version = tmp_path / "source" / "layer" / "1"
    version.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(version / "weights.onnx"))
    (version.parent / "config.pbtxt").write_text(CONFIG + 'default_model_filename: "weights.onnx"\n')
    return tmp_path / "source"


@pytest.fixture
def control(source: Path, tmp_path: Path, start: Callable[..., TritonServer]) -> TritonControl:
    install = find_server()
    stage(source, tmp_path / "staged", ["layer"], install.backends)
    return TritonControl.of(start(tmp_path / "staged", install=install))


def test_requests_of_different_sizes_in_one_batch_get_their_own_rows_back(
    source: Path, control: TritonControl, infer: Callable[..., Any]
) -> None:
    import onnxruntime

    planned = with_batching(read_config(source, "layer"), max_batch_size=8, max_queue_delay_s=60, instances=1)
    control.load("layer", planned)  # the config as production gets it
    rows = np.random.default_rng(11).standard_normal((8, 5)).astype(np.float32)
    parts = [slice(0, 1), slice(1, 3), slice(3, 8)]  # 1 + 2 + 5 fill the batch, so it runs at once
    answers: dict[int, Any] = {}

    def ask(at: int) -> None:
        answers[at] = infer(control.address, "layer", rows[parts[at]].tolist())

    clients = [threading.Thread(target=ask, args=(at,)) for at in range(len(parts))]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    session = onnxruntime.InferenceSession(str(source / "layer" / "1" / "weights.onnx"))
    expected = session.run(["y"], {"x": rows})[0]
    assert [answers[at][0] for at in range(3)] == [200, 200, 200]
    served = np.concatenate([np.asarray(answers[at][1], np.float32) for at in range(3)])
    np.testing.assert_allclose(served, expected, rtol=1e-6)
    assert set(control.statistics("layer").batches) <= {8}  # one execution, counted after the answers


def test_the_staged_config_and_the_planned_one_serve_the_same_model(
    source: Path, control: TritonControl, infer: Callable[..., Any]
) -> None:
    rows = [[1.0, -1.0, 0.5, 2.0, 0.0]]
    control.load("layer")
    as_staged = infer(control.address, "layer", rows)
    control.load("layer", parse_config((source / "layer" / "config.pbtxt").read_text()))
    assert infer(control.address, "layer", rows) == as_staged
    assert as_staged[0] == 200
    assert control.metadata("layer").max_batch_size == 8
