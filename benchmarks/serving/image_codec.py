"""Decoding a 224x224x3 FP32 image from a binary REST request and encoding it into the answer: KServe's code and ours.

Both sides start at the body's bytes and end at bytes to send; between them stands the array a predictor gets.
Runs as a program of its own: kserve's protocol messages and tritonclient's do not go into one process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np

_SHAPE = (1, 224, 224, 3)
_REPEATS = 20


def image_request() -> tuple[bytes, int]:
    """A body and the length of its JSON part."""
    raw = np.random.default_rng(2).random(_SHAPE, np.float32).tobytes()
    head = {
        "inputs": [{"name": "x", "shape": _SHAPE, "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}],
        "parameters": {"binary_data_output": True},
    }
    content = json.dumps(head).encode()
    return content + raw, len(content)


def ours(body: bytes, head_bytes: int) -> bytes:
    from kserve_ext.serving.codec import decode_v2, encode_v2

    call = decode_v2(body, head_bytes)
    outputs: Mapping[str, Any] = {"y": call.inputs["x"]}
    return encode_v2(call, "m", "1", outputs)[0]


def kserve(body: bytes, head_bytes: int) -> bytes:
    from kserve import InferOutput, InferRequest, InferResponse

    request = InferRequest.from_bytes(body, head_bytes, "m")
    array = request.inputs[0].as_numpy()
    output = InferOutput("y", list(array.shape), "FP32")
    output.set_data_from_numpy(array, binary_data=True)
    answer, _ = InferResponse("1", "m", [output], use_binary_outputs=True).to_rest()
    content: bytes = answer
    return content


def took_s(codec: Callable[[bytes, int], bytes]) -> float:
    """The quickest of some runs."""
    body, head_bytes = image_request()
    raw = body[head_bytes:]
    seconds = []
    for _ in range(_REPEATS):
        start_s = perf_counter()
        answer = codec(body, head_bytes)
        seconds.append(perf_counter() - start_s)
        if not answer.endswith(raw):
            raise RuntimeError(f"{codec.__name__} changed the image")
    return min(seconds)


def in_own_process() -> tuple[float, float]:
    """Seconds of ours and of KServe's."""
    command = [sys.executable, "-m", "benchmarks.serving.image_codec"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mine_s, theirs_s = json.loads(done.stdout.splitlines()[-1])
    return mine_s, theirs_s


if __name__ == "__main__":
    print(json.dumps([took_s(ours), took_s(kserve)]))
