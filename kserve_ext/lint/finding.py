"""What a rule is and what it says: a stable id, what happens if it is left, where it was found, how it is mended.

An Edit names the field it changes by its place, so that it can be found again in the text after other edits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from kserve_ext.intent.document import Node

if TYPE_CHECKING:
    from kserve_ext.lint.project import Project

_Subject = TypeVar("_Subject")


class Severity(StrEnum):
    """error: refused, or does not serve. warning: works, but not as written or not as fast. info: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Action(StrEnum):
    """What an edit does to the field it names."""

    REMOVE = "remove"
    REPLACE = "replace"  # the value
    INSERT = "insert"  # `text` as the first entry of the mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of the field that stands at `line` under the path `field`."""

    action: Action
    line: int
    field: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands."""

    file: str
    line: int
    field: str = ""
    column: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One violation of a rule. An empty `remedy` is the rule's own."""

    place: Place
    message: str
    remedy: str = ""
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule with its documentation; `check` finds every violation in a project."""

    id: str
    name: str
    severity: Severity
    what: str  # what it looks for
    leave: str  # what happens if it is left, with the number where one was measured
    remedy: str
    fix: str  # what --fix does; empty where a person must decide
    check: Callable[[Project], Iterator[Hit]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One violation, ready to be shown."""

    rule: str
    severity: Severity
    file: str
    line: int
    column: int | None
    field: str
    message: str
    remedy: str
    edits: tuple[Edit, ...] = ()


def rule(
    id_: str,
    name: str,
    severity: Severity,
    over: Callable[[Project], Iterable[_Subject]],
    *,
    what: str,
    leave: str,
    remedy: str,
    fix: str = "",
) -> Callable[[Callable[[_Subject], Iterator[Hit]]], Rule]:
    """Make a Rule of a function that looks at one subject; `over` gives the subjects of a project."""

    def make(check: Callable[[_Subject], Iterator[Hit]]) -> Rule:
        def check_all(project: Project) -> Iterator[Hit]:
            for subject in over(project):
                yield from check(subject)

        return Rule(
            id=id_, name=name, severity=severity, what=what, leave=leave, remedy=remedy, fix=fix, check=check_all
        )

    return make


def place_of(node: Node) -> Place:
    """Where a node stands."""
    return Place(file=node.file, line=node.line, field=node.path)


def hit(node: Node, message: str, *, remedy: str = "", edits: tuple[Edit, ...] = ()) -> Hit:
    """A violation at a node."""
    return Hit(place=place_of(node), message=message, remedy=remedy, edits=edits)


def remove(node: Node) -> tuple[Edit, ...]:
    """The edit that takes a field out."""
    return (Edit(action=Action.REMOVE, line=node.line, field=node.path),)


def replace_value(node: Node, text: str) -> tuple[Edit, ...]:
    """The edit that gives a field another value."""
    return (Edit(action=Action.REPLACE, line=node.line, field=node.path, text=text),)
