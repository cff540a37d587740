"""Runs an ONNX model inside Triton's python backend, for servers without the onnxruntime backend.

Executed by Triton's python stub, so it imports nothing of kserve_ext. The file is the parameter `onnx_filename`
(`default_model_filename` would be this program), threads are the parameter `intra_op_thread_count`, as in the
onnxruntime backend. The requests of a batch are joined along the first axis, run once and split again. A request that
fails does not fail its neighbours.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

DEFAULT_FILENAME = "model.onnx"  # as in the onnxruntime backend
DEFAULT_THREADS = "1"  # the onnxruntime backend takes every core of the host, also in a container with fewer
ONNX_TYPES = {"FP16": "float16", "FP32": "float", "FP64": "double"}  # the others have Triton's name in lower case


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        # Imported here: Triton also imports this file only to ask it for an automatic configuration.
        from onnxruntime import InferenceSession
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        config = json.loads(args["model_config"])
        filename = parameter(config, "onnx_filename", DEFAULT_FILENAME)
        path = Path(args["model_repository"], args["model_version"], filename)
        if not path.exists():
            raise pb_utils.TritonModelException(f"parameters: onnx_filename: {path} does not exist")
        self.session = InferenceSession(str(path), session_options(config), providers=["CPUExecutionProvider"])
        check_tensors("input", config["input"], self.session.get_inputs(), filename)
        check_tensors("output", config["output"], self.session.get_outputs(), filename)
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.batched = config["max_batch_size"] > 0
        self.errors = (
            failures.EPFail, failures.EngineError, failures.Fail, failures.InvalidArgument, failures.NotImplemented,
            failures.RuntimeException, MemoryError, ValueError,
        )  # fmt: skip

    def execute(self, requests: list[Any]) -> list[Any]:
        if self.batched:
            return self._answers(requests)
        return [answer for request in requests for answer in self._answers([request])]

    def _answers(self, requests: list[Any]) -> list[Any]:
        """One response for each request. A batch that fails is halved until what fails is one request: 2n - 1 runs."""
        try:
            return self._run(requests)
        except self.errors as error:
            if len(requests) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]
        middle = len(requests) // 2
        return self._answers(requests[:middle]) + self._answers(requests[middle:])

    def _run(self, requests: list[Any]) -> list[Any]:
        feed, rows = joined(requests, self.inputs)
        wanted = [request.requested_output_names() for request in requests]
        names = list({name: None for some in wanted for name in some})
        outputs = dict(zip(names, self.session.run(names, feed), strict=True))
        if not self.batched:
            return [response(outputs, wanted[0], ...)]
        check_rows(outputs, sum(rows))
        ends = itertools.accumulate(rows)
        parts = [slice(end - count, end) for count, end in zip(rows, ends, strict=True)]
        return [response(outputs, some, part) for some, part in zip(wanted, parts, strict=True)]


def joined(requests: list[Any], inputs: list[str]) -> tuple[dict[str, Any], list[int]]:
    """Each input of all requests as one array, and how many rows each request brought."""
    feed: dict[str, Any] = {}
    rows: list[int] = []
    for name in inputs:
        tensors = [pb_utils.get_input_tensor_by_name(request, name) for request in requests]
        if tensors[0] is None:
            continue  # an optional input: the batcher merges only requests that all lack it
        arrays = [tensor.as_numpy() for tensor in tensors]
        rows = rows or [len(array) if array.ndim else 1 for array in arrays]
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        feed[name] = decoded(array) if array.dtype.hasobject else array
    return feed, rows


def decoded(texts: Any) -> Any:
    """Triton's bytes as the str that onnxruntime takes; it would turn bytes into the text "b'...'"."""
    return np.array([text.decode() for text in texts.ravel()], dtype=object).reshape(texts.shape)


def response(outputs: Mapping[str, Any], names: Iterable[str], part: Any) -> Any:
    """The answer to one request: its rows of the outputs it asked for, as views."""
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, outputs[name][part]) for name in names])


def check_rows(outputs: Mapping[str, Any], rows: int) -> None:
    """Raises ValueError for an output whose rows are not the batch's: it cannot be split."""
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != rows:
            shape = list(array.shape)
            raise ValueError(f"output {name} has shape {shape} for a batch of {rows} rows: set max_batch_size to 0")


def parameter(config: Mapping[str, Any], key: str, default: str) -> str:
    value: str = config.get("parameters", {}).get(key, {}).get("string_value", default)
    return value


def session_options(config: Mapping[str, Any]) -> Any:
    from onnxruntime import ExecutionMode, SessionOptions

    threads = parameter(config, "intra_op_thread_count", DEFAULT_THREADS)
    if not threads.isdecimal():
        allowed = "allowed: a whole number, 0 for every core"
        raise pb_utils.TritonModelException(f"parameters: intra_op_thread_count: found {threads!r}; {allowed}")
    options = SessionOptions()
    options.intra_op_num_threads = int(threads)
    options.inter_op_num_threads = 1
    options.execution_mode = ExecutionMode.ORT_SEQUENTIAL
    # Waiting threads would burn the cores that the other instances and the server itself need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def check_tensors(kind: str, configured: Iterable[Mapping[str, Any]], existing: Iterable[Any], filename: str) -> None:
    """Raises TritonModelException for a configured tensor that the model has not, or has with another type."""
    types = {tensor.name: tensor.type for tensor in existing}
    for tensor in configured:
        name, short = tensor["name"], tensor["data_type"].removeprefix("TYPE_")
        expected = f"tensor({ONNX_TYPES.get(short, short.lower())})"
        if name not in types:
            there = ", ".join(types)
            raise pb_utils.TritonModelException(f"{kind} {name}: {filename} has no such {kind}; there are: {there}")
        if types[name] != expected:
            found = types[name]
            raise pb_utils.TritonModelException(f"{kind} {name}: data_type: found {short}, but {filename} has {found}")
