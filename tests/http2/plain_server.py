"""The server's side of HTTP/2 with an application that is no gRPC: it answers every whole request a little later.

python tests/http2/plain_server.py 18081      # for a conformance checker such as h2spec
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from kserve_ext.http2.connection import ServerConnection
from kserve_ext.http2.frames import header_block
from kserve_ext.http2.stream import Stream
from kserve_ext.serving.grpc_wire import Head, read_head

LATER_S = 0.02
HEAD, END = header_block([(":status", "200")]), header_block([("x-end", "1")])


class Echo:
    """Answers the body, or `hello` where there is none."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.body = stream, b""
        self.told: list[str] = []

    def data(self, payload: bytes, end: bool) -> None:
        self.body += payload
        if self.stream.receive_window < 2**19:
            self.stream.grant(2**20)
        if end:
            asyncio.get_running_loop().call_later(LATER_S, self._answer)

    def _answer(self) -> None:
        if not self.stream.over:
            self.stream.answer(HEAD, self.body or b"hello", END)

    def gone(self) -> None:
        self.told.append("gone")

    def late(self) -> None:
        self.told.append("late")
        self.stream.reset(8)

    def done(self) -> None:
        self.told.append("done")


def connection(max_streams: int = 100) -> ServerConnection[Head]:
    def opened(stream: Stream, head: Head) -> Echo:
        return Echo(stream)

    return ServerConnection(read_head, opened, lambda _: None, max_streams=max_streams)


async def main(port: int) -> None:
    server: Any = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
