"""YAML text → a tree of nodes that remember file, line and field path, so that every error can say where it stands.

Reads what a Kubernetes client would: mappings with text keys, lists, text, whole and decimal numbers, true/false, null,
anchors and merge keys. Refuses the rest, duplicate keys included. Raises nothing but ManifestError.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from kserve_ext.errors import ManifestError, Problem

MAX_NODES = 100_000  # an InferenceService has about 100; anchors within anchors grow without bound
MAX_DEPTH = 100

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_FOUND_WIDTH = 60
_TEXT_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp")  # Kubernetes has no date type
_MERGE_TAG = "tag:yaml.org,2002:merge"
_CONVERTED = {f"tag:yaml.org,2002:{kind}": kind for kind in ("null", "bool", "int", "float")}
_KINDS = {dict: "a mapping", tuple: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value and its place. A field that is not written is a node with value None at its parent's line."""

    value: dict[str, Node] | tuple[Node, ...] | str | int | float | bool | None
    file: str
    line: int  # of the key, where the value has one
    path: str  # e.g. metadata.annotations[kserve-ext.dev/rate]
    text: str = ""  # a scalar as it is written

    def get(self, *keys: str) -> Node:
        """The node under `keys`; absent fields, and fields of something that is not a mapping, have value None."""
        node = self
        for key in keys:
            found = node.value.get(key) if isinstance(node.value, dict) else None
            node = found or Node(value=None, file=node.file, line=node.line, path=join(node.path, key))
        return node

    def items(self) -> list[tuple[str, Node]]:
        """The fields of a mapping in the order written; none for anything else."""
        return list(self.value.items()) if isinstance(self.value, dict) else []

    def plain(self) -> Any:
        """The value without places: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, tuple) else self.value

    def found(self) -> str:
        """The value for an error message: text in quotes, anything else with what sort of value it is."""
        if isinstance(self.value, str):
            return shorten(self.value)
        kind = _KINDS.get(type(self.value), "nothing")
        return f"{self.text} ({kind})" if self.text and self.value is not None else kind

    def problem(self, what: str, *, found: str | None = None, allowed: str = "") -> Problem:
        """A problem at this place; `found` defaults to the value as written, or what sort of value it is."""
        if found is None:
            found = self.found()
        return Problem(file=self.file, line=self.line, field=self.path, what=what, found=found, allowed=allowed)


def read_documents(text: str, file: str) -> tuple[Node, ...]:
    """The YAML documents in `text`, empty ones left out. Raises ManifestError with every problem of the file."""
    problems: list[Problem] = []
    try:
        roots = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        documents = [_Builder(file, problems).build(root) for root in roots]
    except yaml.YAMLError as error:
        raise ManifestError(_syntax_problem(error, text, file)) from error
    except RecursionError as error:
        raise ManifestError(Problem(file=file, what=f"nested deeper than {MAX_DEPTH} levels")) from error
    if problems:
        raise ManifestError(*problems)
    return tuple(document for document in documents if document.value is not None)


def join(path: str, key: str) -> str:
    """The field path one step down: plain keys after a dot, others in brackets."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def shorten(text: str) -> str:
    """Text for an error message: in quotes, on one line, cut when long."""
    return repr(text if len(text) <= _FOUND_WIDTH else text[:_FOUND_WIDTH] + "…")


class _Builder:
    """Turns the nodes of one document into ours, noting each problem and going on."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file, self.problems, self.count = file, problems, 0

    def build(self, root: yaml.Node) -> Node:
        return self._node(root, _line(root), "", ())

    def _node(self, node: yaml.Node, line: int, path: str, above: tuple[yaml.Node, ...]) -> Node:
        """`above` are the nodes on the way down, to see an anchor that contains itself."""
        self.count += 1
        if self.count > MAX_NODES:
            raise ManifestError(Problem(file=self.file, what=f"more than {MAX_NODES} values in one document"))
        if node in above or len(above) > MAX_DEPTH:
            what = f"an anchor that contains itself, or more than {MAX_DEPTH} levels"
            raise ManifestError(Problem(file=self.file, line=line, field=path, what=what))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, path, above)
        elif isinstance(node, yaml.SequenceNode):
            within = (*above, node)
            value = tuple(self._node(item, _line(item), f"{path}[{i}]", within) for i, item in enumerate(node.value))
        else:
            value = self._scalar(node, line, path)
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        return Node(value=value, file=self.file, line=line, path=path, text=text)

    def _mapping(self, node: yaml.MappingNode, path: str, above: tuple[yaml.Node, ...]) -> dict[str, Node]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, child in node.value:
            line = _line(key)
            if key.tag == _MERGE_TAG:
                for source in self._merge_sources(child, line, path):
                    merged = self._mapping_once(source, path, (*above, node)) | merged  # the first source wins
            elif not isinstance(key, yaml.ScalarNode):
                self._note(line, path, "a key that is not text")
            elif key.value in own:
                self._note(line, join(path, key.value), "a key that stands twice in one mapping")
            else:
                own[key.value] = self._node(child, line, join(path, key.value), (*above, node))
        return merged | own

    def _mapping_once(self, node: yaml.MappingNode, path: str, above: tuple[yaml.Node, ...]) -> dict[str, Node]:
        built = self._node(node, _line(node), path, above).value
        return built if isinstance(built, dict) else {}

    def _merge_sources(self, node: yaml.Node, line: int, path: str) -> Iterator[yaml.MappingNode]:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(source, yaml.MappingNode):
                yield source
            else:
                self._note(line, path, "a merge key (<<) that does not point to a mapping")

    def _scalar(self, node: yaml.Node, line: int, path: str) -> str | int | float | bool | None:
        if node.tag in _TEXT_TAGS:
            return str(node.value)
        kind = _CONVERTED.get(node.tag)
        if kind is None:
            self._note(line, path, "a YAML tag that Kubernetes does not read", found=node.tag)
            return None
        try:
            return _convert(kind, node)
        except (ValueError, LookupError, ArithmeticError):
            self._note(line, path, f"not a value of type {kind}", found=shorten(node.value))
            return None

    def _note(self, line: int, path: str, what: str, found: str = "") -> None:
        self.problems.append(Problem(file=self.file, line=line, field=path, what=what, found=found))


def _convert(kind: str, node: yaml.Node) -> int | float | bool | None:
    """The scalar as YAML 1.1 reads it, as Kubernetes clients do. Raises ValueError, LookupError or ArithmeticError."""
    convert = getattr(yaml.constructor.SafeConstructor(), f"construct_yaml_{kind}")
    value: int | float | bool | None = convert(node)
    if value is not None and not (abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)):
        raise ValueError("JSON has no such number")
    return value


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """What the YAML parser stumbled over, with line and column."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(
            file=file, line=line, what=f"not YAML: {error.reason}", found=f"#x{ord(text[error.position]):04x}"
        )
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = getattr(error, "problem", None) or "cannot be parsed"
    if mark is None:
        return Problem(file=file, what=f"not YAML: {said}")
    return Problem(file=file, line=mark.line + 1, what=f"not YAML: {said} (column {mark.column + 1})")
