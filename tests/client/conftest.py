"""Servers whose answers a test writes, HTTP and gRPC, and both kinds of client to ask them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from kserve_ext.client import AsyncClient, Client

OUTPUT = json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [2.5]}]}).encode()


@dataclass
class Seen:
    """One request as the server got it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpScript:
    """What the server answers, in order; the last answer is repeated. A status of 0 closes the connection instead."""

    answers: list[tuple[int, dict[str, str], bytes]]
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    clients: set[Any] = field(default_factory=set)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # 5 otherwise, and what comes beyond it is reset
    daemon_threads = True


@pytest.fixture
def http_server() -> Iterator[Callable[..., HttpScript]]:
    """Starts scripted HTTP servers, and stops them after the test."""
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(*answers: tuple[int, dict[str, str], bytes]) -> HttpScript:
        script = HttpScript(answers=list(answers) or [(200, {}, OUTPUT)])
        server = _Server(("127.0.0.1", 0), _handler(script))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        return script

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _handler(script: HttpScript) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.seen.append(Seen(self.path, dict(self.headers.items()), body))
            script.clients.add(self.client_address)
            status, headers, answer = script.answers[min(len(script.seen), len(script.answers)) - 1]
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


GrpcAnswer = Callable[[bytes, grpc.ServicerContext], bytes]


@pytest.fixture
def grpc_server() -> Iterator[Callable[[GrpcAnswer], str]]:
    """Starts gRPC servers that answer every method with one function, and stops them after the test."""
    running: list[grpc.Server] = []

    def start(answer: GrpcAnswer) -> str:
        class Anything(grpc.GenericRpcHandler):
            def service(self, details: grpc.HandlerCallDetails) -> Any:
                return grpc.unary_unary_rpc_method_handler(answer)

        server = grpc.server(ThreadPoolExecutor(4), handlers=[Anything()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        running.append(server)
        return f"grpc://127.0.0.1:{port}"

    yield start
    for server in running:
        server.stop(0).wait()


Ask = Callable[..., Any]


@pytest.fixture(params=["threads", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """`ask(url, method, *arguments, options={...})` of a new client of either kind, closed afterwards."""
    if request.param == "threads":
        return _ask_sync
    return lambda *arguments, **named: asyncio.run(_ask_async(*arguments, **named))


def _ask_sync(url: str, method: str, *arguments: Any, options: dict[str, Any] | None = None, **named: Any) -> Any:
    with Client(url, **(options or {})) as client:
        return getattr(client, method)(*arguments, **named)


async def _ask_async(
    url: str, method: str, *arguments: Any, options: dict[str, Any] | None = None, **named: Any
) -> Any:
    async with AsyncClient(url, **(options or {})) as client:
        return await getattr(client, method)(*arguments, **named)
