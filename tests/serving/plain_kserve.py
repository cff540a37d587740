"""The same model as sample_predictors.Doubler, as KServe's documentation has it written; run as a program."""

from __future__ import annotations

from typing import Any

from kserve import InferOutput, InferResponse, Model, ModelServer


class Plain(Model):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    def predict(self, payload: Any, headers: Any = None) -> Any:
        if isinstance(payload, dict):
            return {"predictions": [[2 * value for value in row] for row in payload["instances"]]}
        array = payload.inputs[0].as_numpy() * 2
        output = InferOutput("y", list(array.shape), "FP32")
        output.set_data_from_numpy(array)
        return InferResponse(
            response_id=payload.id or "1", model_name=self.name, infer_outputs=[output],
            use_binary_outputs=payload.use_binary_outputs, requested_outputs=payload.request_outputs,
        )  # fmt: skip


if __name__ == "__main__":
    ModelServer().start([Plain("m")])
