"""sample_predictors.Doubler for Triton's python backend, without its bad rows."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        doubled = [pb_utils.get_input_tensor_by_name(one, "x").as_numpy() * 2 for one in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", array)]) for array in doubled]
