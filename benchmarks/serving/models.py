"""What is served: a small MLP made here, and the encoder of model_repo/embed at 32 tokens; and the loop that bounds both."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from kserve_ext.bench.payload import Sample
from kserve_ext.bench.tensor import Array, Tensor

_WIDTHS = (64, 256, 10)
_TOKENS = 32
_ENCODER = Path("model_repo/embed_encoder/1/model.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchModel:
    """One model's file, and requests of one row."""

    name: str
    file: Path
    samples: tuple[Sample, ...]
    config: str  # the inputs and outputs of config.pbtxt
    most: int = 32  # rows in a batch, for every server

    def rows(self, count: int) -> dict[str, Array]:
        """A batch."""
        return {
            tensor.name: np.concatenate([sample.inputs[place].data for sample in self._taken(count)])
            for place, tensor in enumerate(self.samples[0].inputs)
        }

    def _taken(self, count: int) -> list[Sample]:
        return [self.samples[place % len(self.samples)] for place in range(count)]


def tiny(folder: Path) -> BenchModel:
    """An MLP 64-256-10 with fixed weights."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((rng.standard_normal((before, after)) / before**0.5).astype(np.float32), f"w{place}")
        for place, (before, after) in enumerate(itertools.pairwise(_WIDTHS))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["y"]),
    ]  # fmt: skip
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", _WIDTHS[0]])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", _WIDTHS[-1]])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file = folder / "tiny" / "model.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    save(model, file)
    samples = tuple(
        Sample(inputs=(Tensor(name="x", datatype="FP32", data=rng.random((1, _WIDTHS[0]), np.float32)),))
        for _ in range(16)
    )
    config = 'input [{name:"x" data_type:TYPE_FP32 dims:[64]}] output [{name:"y" data_type:TYPE_FP32 dims:[10]}]'
    return BenchModel(name="tiny", file=file, samples=samples, config=config)


def minilm(folder: Path) -> BenchModel:
    """The encoder, on 32 tokens of which all count."""
    file = folder / "minilm" / "model.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_ENCODER, file)
    rng = np.random.default_rng(1)
    mask = np.ones((1, _TOKENS), np.int64)
    samples = tuple(
        Sample(
            inputs=(
                Tensor(name="input_ids", datatype="INT64", data=rng.integers(1000, 20_000, (1, _TOKENS))),
                Tensor(name="attention_mask", datatype="INT64", data=mask),
            )
        )
        for _ in range(16)
    )
    config = (
        'input [{name:"input_ids" data_type:TYPE_INT64 dims:[-1]}, {name:"attention_mask" data_type:TYPE_INT64 '
        'dims:[-1]}] output [{name:"embedding" data_type:TYPE_FP32 dims:[384]}]'
    )
    return BenchModel(name="minilm", file=file, samples=samples, config=config)


def session(model: BenchModel) -> Any:
    """onnxruntime with one thread, as every server here has it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model.file), options, providers=["CPUExecutionProvider"])


def bare_loop(model: BenchModel, batch: int, seconds: float) -> tuple[float, float]:
    """Rows a second and CPU ms a row of onnxruntime alone, one batch after another on one thread."""
    running, rows = session(model), model.rows(batch)
    running.run(None, rows)
    count, start_s, cpu_s = 0, perf_counter(), process_time()
    while (elapsed_s := perf_counter() - start_s) < seconds:
        running.run(None, rows)
        count += batch
    return count / elapsed_s, (process_time() - cpu_s) / count * 1e3
