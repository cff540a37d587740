from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from kserve_ext import errors
from kserve_ext.errors import (
    InfeasibleError,
    InputError,
    KserveExtError,
    MissingExtraError,
    Problem,
    ProfileError,
    TritonError,
)

_LINE = re.compile(r"^([│├└─ ]*)(\w+Error)\s*(?:exit (\d))?")


def drawn_tree() -> Iterator[tuple[str, str, int]]:
    """(class, parent, exit code) of each line of the drawing; a class without a code has its parent's."""
    above: list[tuple[str, int]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        parent, parent_code = above[depth - 1] if depth else ("Exception", KserveExtError.exit_code)
        above[depth:] = [(match[2], int(match[3] or parent_code))]
        yield match[2], parent, above[depth][1]


def class_tree(root: type[KserveExtError]) -> Iterator[tuple[str, str, int]]:
    assert root.__base__ is not None
    yield root.__name__, root.__base__.__name__, root.exit_code
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from class_tree(child)


def test_the_tree_in_the_docstring_is_the_tree_of_classes_with_their_exit_codes() -> None:
    drawn = list(drawn_tree())
    assert len(drawn) == 15
    assert sorted(drawn) == sorted(class_tree(KserveExtError))


def test_every_exit_code_is_one_that_the_command_line_documents() -> None:
    assert {code for _, _, code in class_tree(KserveExtError)} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(what="empty"), "empty"),
        (Problem(what="empty", file="a.yaml"), "a.yaml: empty"),
        (Problem(what="empty", file="a.yaml", line=0), "a.yaml:0: empty"),
        (Problem(what="not a rate", file="a.yaml", line=7, field="metadata.annotations", found="fast", allowed="40rps"),
         "a.yaml:7: metadata.annotations: not a rate; found fast; allowed: 40rps"),
        (Problem(what="missing", field="spec"), "spec: missing"),
    ],
)  # fmt: skip
def test_a_problem_says_where_what_was_found_and_what_is_allowed(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_an_input_error_tells_every_problem_on_a_line_of_its_own() -> None:
    error = ProfileError(Problem(what="one"), Problem(what="two"), remedy="measure again")
    assert isinstance(error, InputError)
    assert str(error) == error.message == "one\ntwo"
    assert [problem.what for problem in error.problems] == ["one", "two"]
    assert error.remedy == "measure again"


def test_an_infeasible_error_offers_the_nearest_plan_as_its_remedy() -> None:
    error = InfeasibleError("cannot", binding="slo-p99", nearest="kserve-ext.dev/slo-p99: 22ms")
    assert (error.exit_code, error.binding, error.remedy) == (3, "slo-p99", error.nearest)


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = MissingExtraError("matplotlib", "report")
    assert str(error) == "matplotlib is not installed"
    assert error.remedy == "pip install 'kserve-ext[report]'"


def test_a_server_that_does_not_start_is_an_unreachable_one() -> None:
    assert TritonError("died").exit_code == 4
