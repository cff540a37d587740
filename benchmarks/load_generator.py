"""How many requests a second the load generator holds in open loop with half a core, against a model that does nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import run_open_loop
from kserve_ext.bench.measure import measure
from kserve_ext.bench.payload import Sample
from kserve_ext.bench.target import parse_target
from kserve_ext.bench.tensor import Tensor
from kserve_ext.domain import Protocol
from kserve_ext.hosting import hosted

RATES_RPS = (3000, 4000, 5000, 6000)
HALF_A_CORE = 0.5
_SECONDS = 4.0

_CONFIG = """
backend: "python"
max_batch_size: 64
input [ { name: "x", data_type: TYPE_FP32, dims: [ 8 ] } ]
output [ { name: "x", data_type: TYPE_FP32, dims: [ 8 ] } ]
dynamic_batching { }
instance_group [ { kind: KIND_CPU, count: 1 } ]
"""
_MODEL = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.get_input_tensor_by_name(r, "x")]) for r in requests]
"""


def held_rps(protocol: Protocol) -> tuple[float, float]:
    """The highest of RATES_RPS that was kept with at most half a core, and the cores used at it; 0 if none was."""
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder) / "models" / "identity" / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(_CONFIG)
        (version / "model.py").write_text(_MODEL)
        with hosted(Path(folder) / "models", "identity", log_file=Path(folder) / "log") as host:
            host.control.load("identity")
            target = parse_target(host.url(protocol), model="identity")
            sample = Sample(inputs=(Tensor(name="x", datatype="FP32", data=np.zeros((1, 8), np.float32)),))
            requests = [encode(sample, target)]
            held, cores = 0.0, 0.0
            for rate_rps in RATES_RPS:
                seen = measure(run_open_loop(target, requests, poisson(rate_rps, _SECONDS, 1)), rate_rps=rate_rps)
                print(
                    f"load generator, {protocol}: {rate_rps} rps offered, {seen.throughput_rps:.0f} answered, "
                    f"{seen.generator_cpu_share:.2f} cores, late by {seen.late_send_p99_s * 1e3:.1f} ms at p99"
                )
                if seen.generator_cpu_share > HALF_A_CORE or seen.failed or seen.throughput_rps < 0.97 * rate_rps:
                    break
                held, cores = float(rate_rps), seen.generator_cpu_share
    return held, cores
