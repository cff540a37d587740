"""A stateful model for Triton's python backend: it adds up what each sequence sends."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}

    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", self.added(request))]) for request in requests]

    def added(self, request):
        x, start, ready, name = (
            pb_utils.get_input_tensor_by_name(request, key).as_numpy() for key in ("x", "START", "READY", "NAME")
        )
        if not ready.ravel()[0]:  # a place that no sequence has
            return np.zeros_like(x)
        name = int(name.ravel()[0])
        self.sums[name] = x if start.ravel()[0] else self.sums[name] + x
        return self.sums[name]
