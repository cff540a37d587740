"""Runs a kserve_ext Predictor inside Triton's python backend, with the answers it gives on KServe's own server.

Executed by Triton's python stub. The predictor's class is the parameter `predictor`, its code and the few modules of
kserve_ext that it stands on lie in `code/`, its files in `artifacts/`: `kserve-ext package` puts them there. Triton
batches; loading, warm-up, joining, splitting and the isolation of bad rows are those of the other server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"], args["model_version"])
        sys.path.insert(0, str(folder / "code"))
        # Imported here: they are found only now, and Triton also imports this file to ask it for a configuration.
        from kserve_ext.serving.execution import execute
        from kserve_ext.serving.faults import Fault
        from kserve_ext.serving.instances import PREDICT, LocalRunner
        from kserve_ext.serving.predictor import find_predictor
        from kserve_ext.serving.settings import Settings

        config = json.loads(args["model_config"])
        threads = parameter(config, "intra_op_thread_count", "1")
        settings = Settings(max_batch_size=config["max_batch_size"], threads=int(threads))
        try:
            self.runner = LocalRunner(
                find_predictor(parameter(config, "predictor", "")), folder / "artifacts", settings
            )
        except Exception as error:
            raise pb_utils.TritonModelException(f"{type(error).__name__}: {error}") from error
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.run = partial(execute, partial(self.runner.run, PREDICT), rules=self.runner.rules)
        self.fault = Fault

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        tensors = [self._tensors(request) for request in requests]
        if self.runner.rules.max_batch_size:
            outcomes, _ = self.run(tensors)
        else:
            outcomes = [self.run([one])[0][0] for one in tensors]
        return [self._answer(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]

    def finalize(self) -> None:
        self.runner.close()

    def _tensors(self, request: Any) -> dict[str, Any]:
        found = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self.inputs}
        return {name: tensor.as_numpy() for name, tensor in found.items() if tensor is not None}

    def _answer(self, request: Any, outcome: Any) -> Any:
        if isinstance(outcome, self.fault):
            return failure(outcome.message, outcome.status)
        names = [name for name in request.requested_output_names() if name in outcome]
        if not names:
            return failure(f"the model answered {', '.join(outcome)}, and none of these was asked for", 500)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, sendable(outcome[name])) for name in names])


def failure(message: str, status: int) -> Any:
    """An answer that is no result: INVALID_ARG is Triton's 400, INTERNAL its 500."""
    codes = pb_utils.TritonError
    return pb_utils.InferenceResponse(error=codes(message, codes.INVALID_ARG if status == 400 else codes.INTERNAL))


def sendable(array: Any) -> Any:
    """Text as the bytes that Triton takes; all else as it is."""
    import numpy as np

    if array.dtype.kind not in "OSU":
        return np.ascontiguousarray(array)
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
    texts = np.empty(len(items), np.object_)
    texts[:] = items
    return texts.reshape(array.shape)


def parameter(config: Mapping[str, Any], key: str, default: str) -> str:
    value: str = config.get("parameters", {}).get(key, {}).get("string_value", default)
    return value
