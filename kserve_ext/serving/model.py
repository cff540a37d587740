"""A Predictor as a kserve.Model, so that KServe's own server, routes and repository know it like any other.

What comes through the fast lane and the gRPC service never gets here; CloudEvents and explain do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kserve
import numpy as np
from kserve import errors
from kserve.metrics import PREDICT_HIST_TIME, get_labels

from kserve_ext.serving.codec import answered_datatype
from kserve_ext.serving.codec_v1 import decode_v1, rows_v1
from kserve_ext.serving.engine import Engine
from kserve_ext.serving.execution import Array, Tensors
from kserve_ext.serving.faults import BadRequest, Fault, NotReady
from kserve_ext.serving.health import State
from kserve_ext.serving.instances import EXPLAIN, PREDICT
from kserve_ext.serving.predictor import Predictor
from kserve_ext.serving.served import Served, new_id
from kserve_ext.serving.settings import Settings
from kserve_ext.serving.status_pages import tensor_rows


class PredictorModel(kserve.Model):  # type: ignore[misc]
    """One predictor under one name."""

    def __init__(self, name: str, predictor: type[Predictor], artifacts: Path, settings: Settings) -> None:
        super().__init__(name)
        hooks = predictor()
        self.served = Served(
            name=name,
            version=predictor.version,
            engine=Engine(name, predictor, artifacts, settings),
            decode=hooks.decode,
            encode=hooks.encode,
            explains=hooks.explain is not None,
            observe=PREDICT_HIST_TIME.labels(**get_labels(name)).observe,
        )

    async def healthy(self) -> bool:
        return not self.served.engine.why_unready()

    def load(self) -> bool:
        """KServe calls this on the event loop for a model that is not ready; the server loads, not KServe."""
        return False

    def start(self) -> None:
        """Nothing: the server loads when it listens, so that it can say that it is loading."""

    def stop(self) -> None:
        self.served.engine.stop(State.UNLOADED)

    def get_input_types(self) -> list[dict[str, Any]]:
        return tensor_rows(self.served.engine.signature)[0]

    def get_output_types(self) -> list[dict[str, Any]]:
        return tensor_rows(self.served.engine.signature)[1]

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        return await self._answer(payload, PREDICT)

    async def explain(self, payload: Any, headers: Any = None) -> Any:
        if not self.served.explains:
            raise NotImplementedError(f"model {self.name} has no `explain`")
        return await self._answer(payload, EXPLAIN)

    async def _answer(self, payload: Any, verb: str) -> Any:
        try:
            outputs = await self.served.engine.submit(self._tensors(payload), verb=verb)
            return self._shown(payload, outputs, "explanations" if verb == EXPLAIN else "predictions")
        except BadRequest as fault:
            raise errors.InvalidInput(fault.message) from fault
        except NotReady as fault:
            raise errors.ModelNotReady(self.name) from fault
        except Fault as fault:
            raise errors.InferenceError(fault.message) from fault

    def _tensors(self, payload: Any) -> Tensors:
        if isinstance(payload, kserve.InferRequest):
            return {tensor.name: _array(tensor) for tensor in payload.inputs}
        if self.served.decode is not None:
            return self.served.decode(payload)
        return decode_v1(payload, self.served.engine.signature)

    def _shown(self, payload: Any, outputs: Tensors, key: str) -> Any:
        if isinstance(payload, kserve.InferRequest):
            answers = [_output(name, array) for name, array in outputs.items()]
            return kserve.InferResponse(response_id=payload.id or new_id(), model_name=self.name, infer_outputs=answers)
        if self.served.encode is not None:
            return self.served.encode(outputs)
        return {key: rows_v1(outputs)}


def _array(tensor: Any) -> Array:
    array: Array = tensor.as_numpy()
    if array.dtype.kind in "OU":
        texts: list[Any] = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
        array = np.empty(array.shape, np.object_)
        array.ravel()[:] = texts
    return array


def _output(name: str, array: Array) -> Any:
    output = kserve.InferOutput(name, list(array.shape), answered_datatype(name, array))
    output.set_data_from_numpy(array, binary_data=False)
    return output
