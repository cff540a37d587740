"""The model in Triton's python backend: what its dynamic batcher brings goes through onnxruntime as one batch."""

import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        folder = os.path.join(args["model_repository"], args["model_version"])
        self.session = onnxruntime.InferenceSession(
            os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]

    def execute(self, requests):
        columns = [
            [pb_utils.get_input_tensor_by_name(one, name).as_numpy() for one in requests] for name in self.inputs
        ]
        batch = {name: np.concatenate(column) for name, column in zip(self.inputs, columns, strict=True)}
        answers = self.session.run(self.outputs, batch)
        responses, start = [], 0
        for rows in map(len, columns[0]):
            end = start + rows
            mine = [pb_utils.Tensor(name, y[start:end]) for name, y in zip(self.outputs, answers, strict=True)]
            responses.append(pb_utils.InferenceResponse(mine))
            start = end
        return responses
