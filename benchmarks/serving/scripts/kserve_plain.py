"""The model as KServe's documentation has a custom predictor written; run as a program with KServe's own arguments."""

import os

import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.utils.numpy_codec import from_np_dtype


class Onnx(Model):
    def __init__(self, name):
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.names = [output.name for output in self.session.get_outputs()]
        self.ready = True

    def predict(self, payload, headers=None):
        answers = self.session.run(self.names, {tensor.name: tensor.as_numpy() for tensor in payload.inputs})
        outputs = []
        for name, array in zip(self.names, answers, strict=True):
            output = InferOutput(name, list(array.shape), from_np_dtype(array.dtype))
            output.set_data_from_numpy(array, binary_data=bool(payload.use_binary_outputs))
            outputs.append(output)
        return InferResponse(payload.id or "1", self.name, outputs, use_binary_outputs=payload.use_binary_outputs)


if __name__ == "__main__":
    ModelServer(workers=1).start([Onnx("m")])
