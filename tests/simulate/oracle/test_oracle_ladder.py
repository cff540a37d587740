from __future__ import annotations

import math

import pytest
from simulate.oracle.cases import table

from kserve_ext.simulate.oracle import Oracle, curve, ladder, regret
from kserve_ext.simulate.outcome import Outcome

ORACLE = Oracle(
    attainment=0.99, late_allowed=10, work=19.1, bound=26.5, billed=26.6, late=9, starts=3, path=(1,)
)  # fmt: skip


def outcome(billed: float, attainment: float = 0.995) -> Outcome:
    return Outcome(
        requests=1000, attainment=attainment, billed=billed, active=billed, starts=0, dropped=0, p50_s=0.1, p95_s=0.2,
        p99_s=0.3, worst_minute=1.0, violation_share=0.0, minutes=(),
    )  # fmt: skip


def test_each_gap_has_its_cause_and_its_share() -> None:
    steps = ladder(ORACLE, outcome(29.0), outcome(35.1))
    assert [(rung.name, rung.billed) for rung in steps.rungs] == [
        ("work bound", 19.1), ("oracle", 26.6), ("perfect rate", 29.0), ("reactive", 35.1),
    ]  # fmt: skip
    assert [gap.cause for gap in steps.gaps] == ["integrality and noise", "stochastic headroom", "forecast error"]
    assert [gap.replicas for gap in steps.gaps] == pytest.approx([7.5, 2.4, 6.1])
    assert [gap.share for gap in steps.gaps] == pytest.approx([7.5 / 16, 2.4 / 16, 6.1 / 16])
    assert (steps.comparable, steps.bound) == (True, 26.5)


@pytest.mark.parametrize(("informed", "plain"), [(0.989, 0.995), (0.995, 0.5)])
def test_a_rung_that_attains_less_than_was_asked_for_makes_the_ladder_incomparable(
    informed: float, plain: float
) -> None:
    assert not ladder(ORACLE, outcome(29.0, informed), outcome(35.1, plain)).comparable


def test_a_ladder_of_nothing_has_no_shares() -> None:
    nothing = Oracle(attainment=0.99, late_allowed=0, work=0.0, bound=0.0, billed=0.0, late=0, starts=0, path=(0,))
    assert [gap.share for gap in ladder(nothing, outcome(0.0), outcome(0.0)).gaps] == [0.0, 0.0, 0.0]


def test_regret_is_measured_at_the_level_the_policy_attains() -> None:
    # All in time takes two replicas for half of the time and one for the rest; ten late ones save the second.
    billed_at = curve(table([[99, 10, 0], [99, 0, 0]], requests=1000), start_up_s=0.0)
    assert regret(3.0, 1.0, billed_at) == pytest.approx(2.0)
    assert regret(3.0, 0.99, billed_at) == pytest.approx(3.0)


@pytest.mark.parametrize(("billed", "expected"), [(0.0, 1.0), (2.0, math.inf)])
def test_regret_against_an_oracle_that_pays_nothing(billed: float, expected: float) -> None:
    assert regret(billed, 1.0, curve(table([[0]]), start_up_s=35.0)) == expected
