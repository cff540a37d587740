"""The model as an MLServer runtime; MLServer batches in front of it."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Onnx(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload):
        inputs = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        answers = self.session.run(self.names, inputs)
        outputs = [NumpyCodec.encode_output(name, array) for name, array in zip(self.names, answers, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
