"""Header blocks to whatever a caller makes of them, remembered while they mean the same. No I/O.

A client repeats the same few blocks for all its requests, and hpack takes 20 to 40 us for one. A block that left the
table as it was means the same until the table changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError

from kserve_ext.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, FrameError

Fields = Sequence[tuple[bytes, bytes]]
Parsed = TypeVar("Parsed")

MAX_LIST_BYTES = 2**16  # hpack's own limit; a field counts 32 more than its bytes
_REMEMBERED = 512


class MalformedError(Exception):
    """What a `parse` raises for fields that are no request: the stream is reset, the connection stays."""


class HeaderReader(Generic[Parsed]):
    """The blocks of one connection, in the order they came; `parse` makes something of the decoded fields."""

    def __init__(self, parse: Callable[[Fields], Parsed]) -> None:
        self._parse = parse
        self._decoder = Decoder(MAX_LIST_BYTES)
        self._known: dict[bytes, Parsed] = {}

    def read(self, block: bytes) -> Parsed:
        """Raises FrameError for bytes that are no header block, and what `parse` raises."""
        known = self._known.get(block)
        if known is not None:
            return known
        fields, changed = self._decode(block)
        parsed = self._parse(fields)
        if not changed:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[block] = parsed
        return parsed

    def skip(self, block: bytes) -> Fields:
        """The fields as they are, of a block that is no head."""
        return self._decode(block)[0]

    def _decode(self, block: bytes) -> tuple[Fields, bool]:
        before = self._table()
        try:
            fields = list(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError as error:
            raise FrameError(f"headers of more than {MAX_LIST_BYTES} bytes", ENHANCE_YOUR_CALM) from error
        except (HPACKError, IndexError) as error:  # hpack 4.2 lets a block that ends too early out as IndexError
            raise FrameError(f"a bad header block: {error}", COMPRESSION_ERROR) from error
        changed = not _same(before, self._table())
        if changed:
            self._known.clear()
        return fields, changed

    def _table(self) -> tuple[Any, int, int]:
        """The newest entry (a new object whenever one is added), how many there are, and the size allowed."""
        entries = self._decoder.header_table.dynamic_entries
        return (entries[0] if entries else None), len(entries), self._decoder.header_table.maxsize


def _same(one: tuple[Any, int, int], other: tuple[Any, int, int]) -> bool:
    return one[0] is other[0] and one[1:] == other[1:]
