"""Findings that a person has looked at and accepts, written beside them with a reason.

As a comment `# kserve-ext: ignore KX101 reason` on the line, or alone above it; above an object or a config it holds for
all of it. As the annotation `kserve-ext.dev/lint-ignore: "KX101 reason; KX102 reason"` it holds for the object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kserve_ext.intent.annotations import LINT_IGNORE
from kserve_ext.intent.document import Node
from kserve_ext.lint.finding import Finding, Place, place_of

END = 2**31  # of a file, whatever its length

_COMMENT = re.compile(r"#\s*kserve-ext:\s*ignore\s+(KX\d+(?:\s*,\s*KX\d+)*)[ \t]*(.*)$")
_ENTRY = re.compile(r"\s*(KX\d+)\b[\s:]*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """One accepted rule, and the lines of the file that it holds for. Without a reason it does not count."""

    place: Place
    rule: str
    reason: str
    first: int
    last: int

    def covers(self, finding: Finding) -> bool:
        """Whether a finding is accepted by this."""
        here = finding.file == self.place.file and self.first <= finding.line <= self.last
        return bool(self.reason) and self.rule == finding.rule and here


def comments(text: str, file: str, starts: Sequence[int]) -> Iterator[Ignore]:
    """The comments of a text. `starts` are the first lines of its objects, ascending; [1] for a config."""
    if "kserve-ext:" not in text:
        return
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        found = _COMMENT.search(line)
        if found is None:
            continue
        first = last = number
        if line.lstrip().startswith("#"):
            first = last = _next_line(lines, number)
            if file.endswith(".pbtxt") and not any(map(_is_content, lines[: number - 1])):
                last = END
            elif first in starts:
                last = min((start for start in starts if start > first), default=END) - 1
        for rule in re.split(r"\s*,\s*", found[1]):
            place = Place(file=file, line=number, column=found.start() + 1)
            yield Ignore(place=place, rule=rule, reason=found[2].strip(), first=first, last=last)


def annotation(found: Node, next_start: int) -> Iterator[Ignore]:
    """What an object's annotation accepts; the object ends before `next_start`."""
    node = found.get("metadata", "annotations", LINT_IGNORE)
    for entry in re.split(r"[;\n]", node.value) if isinstance(node.value, str) else ():
        match = _ENTRY.fullmatch(entry)
        if entry.strip():
            rule, reason = (match[1], match[2]) if match else (entry.strip(), "")
            place = place_of(node)
            yield Ignore(place=place, rule=rule, reason=reason, first=found.line, last=next_start - 1)


def read_ignores(text: str, file: str, objects: Sequence[Node]) -> tuple[Ignore, ...]:
    """Everything that is accepted in a manifest."""
    starts = sorted(found.line for found in objects)
    ends = [*starts[1:], END]
    written = [one for found in objects for one in annotation(found, ends[starts.index(found.line)])]
    return (*comments(text, file, starts), *written)


def _next_line(lines: Sequence[str], number: int) -> int:
    """The first line after `number` with more than a comment on it."""
    return next((at for at, line in enumerate(lines[number:], start=number + 1) if _is_content(line)), number)


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#") and line.strip() != "---"
