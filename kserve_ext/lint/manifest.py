"""YAML text → the Kubernetes objects in it, as nodes with file, line and field path.

Fast for what people write: libyaml composes, and anything out of the ordinary (anchors, tags, merge keys, duplicate
keys, syntax errors) goes to intent.document, which knows them all and words their errors. Raises only ManifestError.
"""

from __future__ import annotations

import yaml

from kserve_ext.intent.document import Node, join, read_documents

_TEXT = "tag:yaml.org,2002:str"
_MAX_DEPTH = 60
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is built in


class _UnusualError(Exception):
    """Something that the careful reader must read."""


def read_objects(text: str, file: str) -> tuple[Node, ...]:
    """The objects in `text`, lists as kubectl prints them taken apart, documents without a kind left out."""
    return tuple(
        found
        for document in _documents(text, file)
        for found in _items(document)
        if isinstance(found.get("kind").value, str) and isinstance(found.get("apiVersion").value, str)
    )


def _items(document: Node) -> tuple[Node, ...]:
    listed = document.get("items").value
    is_list = str(document.get("kind").value).endswith("List")
    return listed if is_list and isinstance(listed, tuple) else (document,)


def _documents(text: str, file: str) -> tuple[Node, ...]:
    if "&" in text or "!" in text:  # an anchor or a tag, maybe
        return read_documents(text, file)
    try:
        roots = list(yaml.compose_all(text, Loader=_LOADER))
        return tuple(_node(root, _line(root), "", file, 0) for root in roots)
    except (_UnusualError, yaml.YAMLError):
        return read_documents(text, file)


def _node(node: yaml.Node, line: int, path: str, file: str, depth: int) -> Node:
    if depth > _MAX_DEPTH:
        raise _UnusualError
    if isinstance(node, yaml.MappingNode):
        fields: dict[str, Node] = {}
        for key, child in node.value:
            if key.tag != _TEXT or key.value in fields:
                raise _UnusualError
            fields[key.value] = _node(child, _line(key), join(path, key.value), file, depth + 1)
        return Node(value=fields, file=file, line=line, path=path)
    if isinstance(node, yaml.SequenceNode):
        items = tuple(_node(item, _line(item), f"{path}[{i}]", file, depth + 1) for i, item in enumerate(node.value))
        return Node(value=items, file=file, line=line, path=path)
    return Node(value=_scalar(node), file=file, line=line, path=path, text=node.value)


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    kind = node.tag.rpartition(":")[2]
    text = str(node.value)
    if kind in ("str", "timestamp"):  # Kubernetes has no date type
        return text
    if kind == "int" and text.isdecimal() and not text.startswith("0") and len(text) < 18:
        return int(text)
    if text in _PLAIN:
        return _PLAIN[text]
    raise _UnusualError


_PLAIN: dict[str, int | bool | None] = {
    "0": 0, "-1": -1, "true": True, "false": False, "null": None, "~": None, "": None,
}  # fmt: skip


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
