"""The model as a BentoML service: plain JSON in and out, BentoML's adaptive batching."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Onnx:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.first = self.session.get_inputs()[0]
        self.dtype = np.int64 if "int64" in self.first.type else np.float32

    @bentoml.api(batchable=True, max_batch_size=int(os.environ["BENCH_MOST"]), max_latency_ms=1000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        x = x.astype(self.dtype, copy=False)
        inputs = {value.name: np.ones_like(x) for value in self.session.get_inputs()}  # a mask counts all tokens
        inputs[self.first.name] = x
        return self.session.run(None, inputs)[0]
