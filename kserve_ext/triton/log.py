"""What Triton's log says: the error lines, and why a model does not load. Text in, text out, except `read_from`."""

from __future__ import annotations

import re
from pathlib import Path

_WIDTH = 300  # characters of a quoted line
# E1122 10:03:46.853846 10108 model_lifecycle.cc:642] "message with \n and \" escaped"
_LINE = re.compile(r"^(?P<level>[EWIF])\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] +(?P<text>.*)$")
# An unprefixed line that tells why the program ended: main's own, the dynamic linker's, a signal that is not a request.
_PLAIN_ERROR = re.compile(
    r"^error: |: error while loading shared libraries: |: symbol lookup error: |^Signal \((?!2\)|15\))\d+\) received",
    re.I,
)
_NO_GPU = ("CudaDriverHelper has not been initialized", "Failed to initialize NVML")  # every start without a GPU
# What stands before a reason and says only that a load failed.
_PREFIX = re.compile(
    r"^(Poll failed for model directory '[^']*'|failed to load '[^']*' version \d+|ERROR: Failed to create instance"
    r"|Invalid argument|Internal|Invalid config override|\[request id: <id_unknown>\]):? "
)
# Triton's words for a fault, and the field of config.pbtxt they are about, where the words do not name it.
_FIELDS = (
    ("preferred size", "dynamic_batching.preferred_batch_size"),
    ("default priority level", "dynamic_batching.default_priority_level"),
    ("instance group", "instance_group"),
    ("warmup sample", "model_warmup"),
    ("provide all required input", "model_warmup.inputs"),
    ("ensemble_scheduling", "ensemble_scheduling"),
    ("in step", "ensemble_scheduling.step"),
    ("contains models that are not available", "ensemble_scheduling.step.model_name"),
    ("backend library", "backend"),
    ("is specified for model", "version_policy"),
    ("Stub process", "model.py"),  # its process ended while it loaded
    ("model input", "input"),
    ("model output", "output"),
)


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
        elif not match and _PLAIN_ERROR.search(line):
            found[line.strip()] = None
    return tuple(text for text in found if not any(known in text for known in _NO_GPU))


def reasons(log: str, model: str) -> tuple[str, ...]:
    """Why `model` does not load: those of the errors that name it, else all, each with the config field it is about."""
    found = errors(log)
    about = [text for text in found if f"'{model}'" in text] or found
    return tuple(dict.fromkeys(_reason(text, model) for text in about))


def tail(log: str, count: int = 5) -> tuple[str, ...]:
    """The last `count` lines with something in them, leaving out the frames of Triton's tables."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip() and not line.startswith(("+-", "| "))]
    return tuple(line[:_WIDTH] for line in lines[-count:])


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].replace("\\n", "\n").replace('\\"', '"')
    return text.strip()


def _reason(text: str, model: str) -> str:
    while match := _PREFIX.match(text):
        text = text[match.end() :]
    text, _, stack = text.partition("\n\nAt:\n")
    first, *more = re.split(r"; *", text.removesuffix(f" for {model}").rstrip("; "))
    text = "; ".join((first, *(part for part in dict.fromkeys(more) if not first.endswith(part))))  # one for each row
    field = next((field for words, field in _FIELDS if words in text), "")
    place = stack.split()[0].removesuffix(":") if stack.strip() else ""
    return (f"{field}: " if field else "") + text + (f", at {place}" if place else "")
