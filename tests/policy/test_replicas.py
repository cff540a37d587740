from __future__ import annotations

import pytest
from factories import SMALL, intent, profile

from kserve_ext.domain import Pins
from kserve_ext.policy.replicas import cold_start_s, least, most


def test_a_cold_start_is_the_start_of_a_pod_and_the_load_of_the_model() -> None:
    assert cold_start_s((profile(load_s=2.5),), SMALL) == SMALL.pod_start_s + 2.5


@pytest.mark.parametrize(
    ("low_rps", "budget_s", "availability", "expected", "code"),
    [
        (20, None, 0.999, 1, "min-replicas-quiet-rate"),
        (100, None, 0.999, 1, "min-replicas-quiet-rate"),
        (101, None, 0.999, 2, "min-replicas-quiet-rate"),
        (250, None, 0.999, 3, "min-replicas-quiet-rate"),
        (20, None, 0.9999, 2, "min-replicas-quiet-rate"),  # one may be lost
        (250, None, 0.9999, 4, "min-replicas-quiet-rate"),
        (0.001, 10.0, 0.999, 0, "min-replicas-zero"),
        (1 / 60, 7.0, 0.999, 0, "min-replicas-zero"),
        (0.001, None, 0.999, 1, "min-replicas-quiet-rate"),  # nobody said that a cold start is fine
        (0.001, 6.9, 0.999, 1, "min-replicas-quiet-rate"),  # the budget is shorter than the cold start
        (0.02, 10.0, 0.999, 1, "min-replicas-quiet-rate"),  # more than a request a minute
    ],
)
def test_the_least_replicas_carry_the_quiet_rate_and_are_zero_only_within_the_cold_start_budget(
    low_rps: float, budget_s: float | None, availability: float, expected: int, code: str
) -> None:
    wanted = intent(low_rps=low_rps, high_rps=400, cold_start_budget_s=budget_s, availability=availability)
    chosen, reason = least(wanted, 100.0, 7.0)
    assert (chosen, reason.code) == (expected, code)
    assert ("leaves no room for losing a pod" in reason.text) == (availability > 0.999)


@pytest.mark.parametrize(
    ("needed", "minimum", "allowed", "pinned", "expected", "code"),
    [
        (4, 1, None, None, 5, "max-replicas-one-spare"),
        (1, 3, None, None, 4, "max-replicas-one-spare"),
        (4, 1, 9, None, 9, "max-replicas-allowed"),
        (4, 1, 9, 6, 6, "max-replicas-set-by-user"),
        (4, 1, None, 2, 2, "max-replicas-set-by-user"),
    ],
)
def test_the_most_replicas_are_one_more_than_needed_unless_a_person_says_otherwise(
    needed: int, minimum: int, allowed: int | None, pinned: int | None, expected: int, code: str
) -> None:
    wanted = intent(max_replicas=allowed, pins=Pins(max_replicas=pinned))
    chosen, reason = most(wanted, needed, minimum)
    assert (chosen, reason.code) == (expected, code)


def test_the_least_replicas_set_by_hand_are_kept_even_at_zero() -> None:
    chosen, reason = least(intent(pins=Pins(min_replicas=0)), 100.0, 7.0)
    assert (chosen, reason.code, reason.text) == (0, "min-replicas-set-by-user", "0 set in the manifest")
