"""What Triton's log says: the error lines, without their prefix. Text in, text out, except `read_from`."""

from __future__ import annotations

import re
from pathlib import Path

# E1122 10:03:46.853846 10108 model_lifecycle.cc:642] "message with \n and \" escaped"
_LINE = re.compile(r"^(?P<level>[EWIF])\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] +(?P<text>.*)$")
# What an unprefixed line starts with when it tells why the program ended: main's own, the dynamic linker's, gRPC's.
_PLAIN_ERROR = re.compile(r"^(error|.*: error while loading shared libraries|.*: symbol lookup error)[: ]", re.I)
_NO_GPU = ("CudaDriverHelper has not been initialized", "Failed to initialize NVML")  # every start without a GPU


def read_from(path: Path, position: int = 0) -> str:
    """The text of a log from a byte position on; empty where there is no log."""
    try:
        with path.open("rb") as stream:
            stream.seek(position)
            return stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def errors(log: str) -> tuple[str, ...]:
    """The messages of all error lines, in order, each once."""
    found: dict[str, None] = {}
    for line in log.splitlines():
        match = _LINE.match(line)
        if match and match["level"] in "EF":
            found[_unquote(match["text"])] = None
        elif not match and _PLAIN_ERROR.match(line):
            found[line.strip()] = None
    return tuple(text for text in found if not any(known in text for known in _NO_GPU))


def tail(log: str, count: int = 5) -> tuple[str, ...]:
    """The last `count` lines with something in them, leaving out the frames of Triton's tables."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip() and not line.startswith(("+-", "| "))]
    return tuple(lines[-count:])


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].replace("\\n", "\n").replace('\\"', '"')
    return text.strip()
