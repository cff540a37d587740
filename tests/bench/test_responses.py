from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.bench.responses import FramingError, Response, ResponseReader

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: 3\r\n"
    b"CONTENT-LENGTH:  8 \r\n\r\n{ }\r\n\r\n1"
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: gzip, chunked\r\n\r\n"
    b"4;name=x\r\nabcd\r\nA\r\n0123456\r\n\r\r\n0\r\nTrailer: x\r\n\r\n"
    b"HTTP/1.1 204 No Content\r\nConnection: Close\r\n\r\n"
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"
)
EXPECTED = [
    (200, b"{ }\r\n\r\n1", True),
    (503, b"abcd0123456\r\n\r", True),
    (204, b"", False),
    (200, b"", False),
    (200, b"x", True),
]


def _told(responses: list[Response]) -> list[tuple[int, bytes, bool]]:
    return [(r.status, r.body, r.keep_alive) for r in responses]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_of_the_stream_gives_the_same_responses(cuts: list[int]) -> None:
    reader, edges = ResponseReader(), [0, *sorted(cuts), len(STREAM)]
    responses = [r for a, b in itertools.pairwise(edges) for r in reader.feed(STREAM[a:b])]
    assert _told(responses) == EXPECTED


def test_the_length_of_the_json_in_front_of_raw_tensors_is_not_the_content_length() -> None:
    (first, *others) = ResponseReader().feed(STREAM)
    assert (first.json_bytes, others[0].json_bytes) == (3, None)


def test_a_body_without_length_ends_with_the_stream() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nab") == []
    assert reader.feed(b"c") == []
    response = reader.finish()
    assert response is not None
    assert (response.status, response.body, response.keep_alive) == (200, b"abc", False)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab",
    ],
)
def test_a_stream_cut_short_is_no_response(stream: bytes) -> None:
    reader = ResponseReader()
    assert reader.feed(stream) == []
    assert reader.finish() is None


@pytest.mark.parametrize(
    "stream",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"x" * 70000,
    ],
)
def test_what_is_not_http_is_refused(stream: bytes) -> None:
    with pytest.raises(FramingError):
        ResponseReader().feed(stream)


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(noise: bytes) -> None:
    for head in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        reader = ResponseReader()
        with contextlib.suppress(FramingError):
            reader.feed(head + noise)
            reader.finish()
