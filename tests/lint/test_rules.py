"""Every rule: one case that fires, at the line it names, and one that does not."""

from __future__ import annotations

import pytest

from kserve_ext.lint import BY_ID, RULES, check, mend
from kserve_ext.lint.pages import group


def lines_with(sources, text: str) -> set[tuple[str, int]]:
    """File and line of every line that holds `text`."""
    texts = dict(sources.manifests) | {file: one.text for file, one in sources.configs.items()}
    return {
        (file, number)
        for file, content in texts.items()
        for number, line in enumerate(content.splitlines(), start=1)
        if text in line
    }


def test_every_rule_has_a_case_and_every_case_a_rule(cases) -> None:
    assert sorted(cases) == sorted(BY_ID)


def test_a_rule_fires_at_the_line_that_is_at_fault(cases, sources_of, facts_of, rule: str) -> None:
    case = cases[rule]["fires"]
    sources = sources_of(case)
    outcome = check(sources, facts=facts_of(case), rules=[BY_ID[rule]])
    assert not outcome.problems
    assert outcome.findings
    wanted = lines_with(sources, case["at"])
    assert wanted
    assert {(one.file, one.line) for one in outcome.findings} <= wanted, outcome.findings
    if "column" in case:
        assert outcome.findings[0].column == case["column"]
    if outcome.findings[0].file.endswith(".yaml") and rule not in ("KX001", "KX002"):
        assert outcome.findings[0].field


def test_a_rule_is_silent_where_nothing_is_at_fault(cases, sources_of, facts_of, rule: str) -> None:
    case = cases[rule]["clean"]
    outcome = check(sources_of(case), facts=facts_of(case), rules=[BY_ID[rule]])
    assert not outcome.problems
    assert outcome.findings == ()


@pytest.mark.parametrize("fixable", [rule.id for rule in RULES if rule.fix])
def test_a_fix_removes_the_finding_and_a_second_one_changes_nothing(cases, sources_of, facts_of, fixable: str) -> None:
    case = cases[fixable]["fires"]
    sources, facts = sources_of(case), facts_of(case)
    after, outcome, mended = mend(sources, facts=facts, rules=[BY_ID[fixable]])
    assert mended == 1
    assert outcome.findings == ()
    again, _, more = mend(after, facts=facts, rules=[BY_ID[fixable]])
    assert (again, more) == (after, 0)


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.id)
def test_a_rule_says_what_happens_and_what_to_do(one) -> None:
    assert one.what.endswith(".")
    assert one.leave.endswith(".")
    assert one.remedy
    assert group(one)


def test_names_of_rules_are_unique() -> None:
    assert len({one.name for one in RULES}) == len(RULES)
