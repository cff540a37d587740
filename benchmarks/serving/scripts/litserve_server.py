"""The model as a LitAPI: plain JSON in and out, LitServe's own batching."""

import os
import sys

import litserve
import numpy as np
import onnxruntime


class Onnx(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.first = self.session.get_inputs()[0]
        self.dtype = np.int64 if "int64" in self.first.type else np.float32

    def decode_request(self, request):
        return np.array(request["x"], self.dtype)

    def batch(self, inputs):
        return np.concatenate(inputs)

    def predict(self, x):
        inputs = {value.name: np.ones_like(x) for value in self.session.get_inputs()}  # a mask counts all tokens
        inputs[self.first.name] = x
        return self.session.run(None, inputs)[0]

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"y": [output.tolist()]}


if __name__ == "__main__":
    api = Onnx(max_batch_size=int(os.environ["BENCH_MOST"]), batch_timeout=0.002)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False
    )
