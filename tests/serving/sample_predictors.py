"""Predictors the tests serve, in this process and in servers of their own."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kserve_ext.render.tensors import Signature, TensorShape
from kserve_ext.serving.faults import BadRequest
from kserve_ext.serving.predictor import Predictor

ROW = 4
CRASH, REFUSE, NAN = -1.0, -2.0, -3.0  # a row that starts so makes the model do that


class Doubler(Predictor):
    """x [n, 4] -> y = 2 x; a marked row spoils the whole execution it is in, as real models do."""

    def signature(self, artifacts: Path) -> Signature:
        return Signature(
            inputs=(TensorShape(name="x", datatype="TYPE_FP32", dims=(ROW,)),),
            outputs=(TensorShape(name="y", datatype="TYPE_FP32", dims=(ROW,)),),
            batchable=True,
        )

    def predict(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        x = batch["x"]
        if (x[:, 0] == CRASH).any():
            raise RuntimeError("the row is bad")
        if (x[:, 0] == REFUSE).any():
            raise BadRequest("the row is refused")
        y = x * 2
        if (x[:, 0] == NAN).any():
            y[:] = np.nan
        return {"y": y}

    def explain(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"weight": batch["x"] / 10}


class Gated(Doubler):
    """Predicts when the test lets it; the warm-up goes through."""

    gate = threading.Event()
    entered = threading.Semaphore(0)

    def predict(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        if batch["x"].any():
            Gated.entered.release()
            assert Gated.gate.wait(30)
        return super().predict(batch)


class Slow(Doubler):
    """Takes 20 ms, whatever the batch."""

    def predict(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        threading.Event().wait(0.02)
        return super().predict(batch)


class Texts(Predictor):
    """Strings in, their length and upper case out; V1 payloads of its own."""

    def predict(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        texts = [item.decode() for item in batch["text"].ravel()]
        upper = np.array([text.upper().encode() for text in texts], np.object_)
        return {"length": np.array([len(text) for text in texts]), "upper": upper}

    def decode(self, payload: Any) -> dict[str, Any]:
        return {"text": np.array([text.encode() for text in payload["texts"]], np.object_)}

    def encode(self, outputs: Mapping[str, Any]) -> Any:
        return {"lengths": outputs["length"].tolist()}


class Unloadable(Predictor):
    """Fails to load."""

    def load(self, artifacts: Path) -> None:
        raise FileNotFoundError(f"no weights in {artifacts.name}")


class Dying(Doubler):
    """Ends its process at a marked row, as a fault in native code does."""

    def predict(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        if (batch["x"][:, 0] == CRASH).any():
            os._exit(3)
        return super().predict(batch)
