"""Edits in a text that keep everything else as it is: comments, order, quotes, line ends.

A place that cannot be edited safely (a flow mapping, a list item's first key) leaves the text as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import yaml

from kserve_ext.intent.document import join
from kserve_ext.lint.config import fields_of
from kserve_ext.lint.finding import Action, Edit

_ALIAS = re.compile(r"(?m)^[^#\n]*[:\-\[,]\s+\*[\w-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One field of a mapping in the text, and the entry that holds the mapping."""

    line: int
    path: str
    key: yaml.Node
    value: yaml.Node
    siblings: int
    above: _Entry | None


def apply_edits(text: str, edits: Sequence[Edit], *, pbtxt: bool) -> str:
    """The text with all edits made, or as it was where one of them cannot be."""
    spans = [_config_span(text, edit) if pbtxt else _manifest_span(text, edit) for edit in edits]
    found = sorted((span for span in spans if span is not None), reverse=True)
    if len(found) < len(spans) or any(before[1] > after[0] for after, before in pairwise(found)):
        return text
    for start, end, replacement in found:
        text = text[:start] + replacement + text[end:]
    return text


def _config_span(text: str, edit: Edit) -> tuple[int, int, str] | None:
    """What to cut out of a config.pbtxt and what to put there. Only values are replaced."""
    for top in fields_of(text):
        for field in top.walk():
            if (field.line, field.path) == (edit.line, edit.field) and edit.action is Action.REPLACE:
                return field.value_start, field.end, edit.text
    return None


def _manifest_span(text: str, edit: Edit) -> tuple[int, int, str] | None:
    """What to cut out of a manifest and what to put there."""
    if _ALIAS.search(text):
        return None  # what stands in one place may be meant in two
    for root in yaml.compose_all(text, Loader=yaml.SafeLoader):
        for entry in _entries(root, "", None):
            if (entry.line, entry.path) == (edit.line, edit.field):
                return _span(text, entry, edit)
    return None


def _span(text: str, entry: _Entry, edit: Edit) -> tuple[int, int, str] | None:
    if edit.action is Action.REPLACE:
        return entry.value.start_mark.index, entry.value.end_mark.index, edit.text
    if edit.action is Action.INSERT:
        return _insertion(text, entry, edit.text)
    while entry.siblings == 1 and entry.above is not None:  # a mapping without fields would be null
        entry = entry.above
    start = text.rfind("\n", 0, entry.key.start_mark.index) + 1
    if text[start : entry.key.start_mark.index].strip():
        return None  # another thing stands before it on the line
    end = len(text[: max(entry.key.end_mark.index, _end(entry.value))].rstrip())
    stop = text.find("\n", end)
    rest = text[end : stop if stop >= 0 else len(text)].strip()
    if rest and not rest.startswith((":", "#")):
        return None
    return start, stop + 1 if stop >= 0 else len(text), ""


def _insertion(text: str, entry: _Entry, written: str) -> tuple[int, int, str] | None:
    """Before the first field of the mapping, as far in."""
    mapping = entry.value
    if not isinstance(mapping, yaml.MappingNode) or mapping.flow_style or not mapping.value:
        return None
    first = mapping.value[0][0].start_mark
    indent = text[text.rfind("\n", 0, first.index) + 1 : first.index]
    return None if indent.strip() else (first.index, first.index, f"{written}\n{indent}")


def _end(node: yaml.Node) -> int:
    """Where the last scalar or flow collection of a value ends; block collections end where the next thing starts."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _entries(node: yaml.Node, path: str, above: _Entry | None) -> Iterator[_Entry]:
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, value in node.value:
            entry = _Entry(
                line=key.start_mark.line + 1,
                path=join(path, str(key.value)),
                key=key,
                value=value,
                siblings=len(node.value),
                above=above,
            )
            yield entry
            yield from _entries(value, entry.path, entry)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for index, item in enumerate(node.value):
            yield from _entries(item, f"{path}[{index}]", None)
