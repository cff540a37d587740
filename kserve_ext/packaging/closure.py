"""Which source files a predictor stands on: its own package and kserve_ext's, as far as they are imported from it.

Read from the sources, nothing is run: imports inside functions count, those for type checkers do not. What else is
imported (numpy, onnxruntime, …) the server's own Python must have.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from kserve_ext.errors import ModelError, Problem


def sources(roots: Collection[str], packages: Collection[str]) -> Mapping[str, Path]:
    """File by path below the folder they are put in, for `roots` and what they import of `packages` (top-level names).

    Raises ModelError for a module without a source file.
    """
    found: dict[str, Path] = {}
    waiting, seen = list(roots), set(roots)
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file is not None:
            found[_place(name, file)] = file
        for other in _needed(name, file):
            if other.partition(".")[0] in packages and other not in seen:
                seen.add(other)
                waiting.append(other)
    return dict(sorted(found.items()))


def _needed(name: str, file: Path | None) -> Iterator[str]:
    """The packages around a module, and what it imports."""
    parent = name.rpartition(".")[0]
    if parent:
        yield parent
    if file is not None:
        yield from _imported(ast.parse(file.read_text(encoding="utf-8"), str(file)), name, _is_package(file))


def _file(name: str) -> Path | None:
    """The source of a module; None for a folder without __init__.py. Raises ModelError."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is None and spec.submodule_search_locations is not None:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        found = "no such module" if spec is None else str(spec.origin)
        raise ModelError(Problem(field=name, what="cannot be packaged", found=found, allowed="a module with a source"))
    return Path(spec.origin)


def _place(name: str, file: Path) -> str:
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if _is_package(file) else f"{path}.py"


def _is_package(file: Path) -> bool:
    return file.name == "__init__.py"


def _imported(tree: ast.AST, name: str, is_package: bool) -> Iterator[str]:
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, name, is_package)
            yield base
            yield from (full for alias in node.names if _exists(full := f"{base}.{alias.name}"))


def _base(node: ast.ImportFrom, name: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # a class of a module is no package with modules in it
        return False


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _statements(node)
