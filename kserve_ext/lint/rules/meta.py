"""Rules about the linter's own comments and annotations."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from kserve_ext.lint.finding import Hit, Severity
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.ignores import Ignore
from kserve_ext.lint.project import Project


def _ignores(project: Project) -> Iterator[tuple[Ignore, Project]]:
    return ((one, project) for one in project.ignores)


@make(
    "KX001", "ignore-without-a-reason", Severity.WARNING, _ignores,
    what="A rule that is ignored without a reason.",
    leave="It is not ignored: whoever reads it later could not tell whether it still holds.",
    remedy="write the reason behind the id: # kserve-ext: ignore KX101 one cluster only",
)  # fmt: skip
def without_reason(written: tuple[Ignore, Project]) -> Iterator[Hit]:
    ignore, project = written
    if not ignore.reason and ignore.rule in project.known_rules:
        yield Hit(place=ignore.place, message=f"{ignore.rule} is ignored without a reason, so it is not ignored")


@make(
    "KX002", "ignore-of-no-rule", Severity.WARNING, _ignores,
    what="An id that no rule has.",
    leave="Nothing is ignored by it.",
    remedy="`kserve-ext lint --list-rules` prints all ids",
)  # fmt: skip
def of_no_rule(written: tuple[Ignore, Project]) -> Iterator[Hit]:
    ignore, project = written
    if ignore.rule not in project.known_rules:
        near = difflib.get_close_matches(ignore.rule, sorted(project.known_rules), n=1)
        yield Hit(
            place=ignore.place, message=f"no rule {ignore.rule}" + (f"; the nearest is {near[0]}" if near else "")
        )


RULES = (without_reason, of_no_rule)
