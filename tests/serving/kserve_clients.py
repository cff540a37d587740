"""KServe's own clients ask one server; a program of its own, as kserve's messages and tritonclient's clash in a process.

kserve_clients.py HTTP_PORT GRPC_PORT       prints the outputs by way, and what the clients say of readiness
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

X = np.arange(8, dtype=np.float32).reshape(2, 4)


def request(*, binary: bool) -> InferRequest:
    tensor = InferInput("x", list(X.shape), "FP32")
    tensor.set_data_from_numpy(X, binary_data=binary)
    return InferRequest("m", [tensor], request_id="7", parameters={"binary_data_output": True} if binary else None)


def rows(response: Any) -> Any:
    (output,) = response.outputs
    return [response.model_name, response.id, output.name, output.as_numpy().tolist()]


async def said(answer: Awaitable[bool]) -> bool | str:
    try:
        return await answer
    except ValueError:
        return "no JSON"


async def main(http: str, grpc: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{http}"
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    found: dict[str, Any] = {
        "rest json": rows(await rest.infer(url, request(binary=False), "m")),
        "rest binary": rows(await rest.infer(url, request(binary=True), "m")),
        "rest ready": [
            await said(rest.is_server_live(url)),
            await said(rest.is_server_ready(url)),
            await said(rest.is_model_ready(url, "m")),
        ],
    }
    await rest.close()
    async with InferenceGRPCClient(f"127.0.0.1:{grpc}") as rpc:
        found["grpc"] = rows(await rpc.infer(request(binary=True)))
        found["grpc ready"] = [await rpc.is_server_live(), await rpc.is_server_ready(), await rpc.is_model_ready("m")]
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))  # noqa: T201 - the program's answer
