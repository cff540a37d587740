from __future__ import annotations

import contextlib
import itertools

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.bench.http2 import Head, read_head
from kserve_ext.http2 import frames
from kserve_ext.http2.heads import HeaderReader

HEADERS = [(":method", "POST"), (":path", "/" + "p" * 300), ("content-type", "application/grpc"), ("te", "trailers")]
GOOD = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")]


@given(
    sent=st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=99))
    ),
    cuts=st.lists(st.integers(0, 2000)),
)
def test_any_split_of_the_stream_gives_the_same_frames(
    sent: list[tuple[int, int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(frames.frame(*one) for one in sent)
    reader, edges = frames.FrameReader(), [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert [f for a, b in itertools.pairwise(edges) for f in reader.feed(stream[a:b])] == sent


def test_a_frame_longer_than_announced_is_refused() -> None:
    with pytest.raises(frames.FrameError):
        frames.FrameReader().feed(b"\xff\xff\xff\0\0\0\0\0\1")


def test_a_header_block_can_be_sent_again_and_again() -> None:
    block, decoder = frames.header_block(HEADERS), Decoder()
    for allowed in (4096, 0, 100):  # whatever table size the server announces meanwhile
        decoder.max_allowed_table_size = allowed
        assert list(decoder.decode(block)) == HEADERS
        assert not decoder.header_table.dynamic_entries


def test_padding_and_priority_are_cut_off() -> None:
    flags = frames.PADDED | frames.HAS_PRIORITY
    assert frames.unpadded(frames.Frame(frames.HEADERS, flags, 1, b"\x02" + b"prio!" + b"block" + b"\0\0")) == b"block"
    assert frames.unpadded(frames.Frame(frames.DATA, 0, 1, b"abc")) == b"abc"
    with pytest.raises(frames.FrameError):
        frames.unpadded(frames.Frame(frames.DATA, frames.PADDED, 1, b"\x09abc"))


@given(st.lists(st.sampled_from(["0", "14", "3"]), min_size=1, max_size=30), st.integers(0, 200))
def test_remembered_header_blocks_never_tell_an_older_answer(statuses: list[str], table_bytes: int) -> None:
    """A small table forgets entries, so that one and the same index means another field later."""
    encoder, reader = Encoder(), HeaderReader(read_head)
    encoder.header_table_size = table_bytes
    for i, status in enumerate(statuses):
        block = encoder.encode([(":status", "200"), ("grpc-status", status), ("x-request", str(i % 3))])
        assert reader.read(block) == Head("200", status, "")


def test_a_block_of_indexes_is_decoded_once() -> None:
    encoder, reader = Encoder(), HeaderReader(read_head)
    reader.read(encoder.encode(GOOD))
    block = encoder.encode(GOOD)
    assert reader.read(block) is reader.read(block)


@given(st.binary(max_size=60))
def test_random_header_blocks_raise_nothing_but_a_frame_error(block: bytes) -> None:
    with contextlib.suppress(frames.FrameError):
        HeaderReader(read_head).read(block)
