from __future__ import annotations

import re
from dataclasses import replace

import pytest
from factories import intent, profile, request, stage_profile
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Intent, RateRange, Slo
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy import plan
from kserve_ext.policy.infeasible import round_down, round_up
from kserve_ext.units import parse_duration_s


def refusal(wanted: Intent) -> InfeasibleError:
    with pytest.raises(InfeasibleError) as caught:
        plan(request(wanted))
    return caught.value


def test_an_slo_shorter_than_one_inference_names_the_time_of_one_and_the_shortest_slo_that_works() -> None:
    error = refusal(intent(slo_s=0.003, high_rps=40))
    assert error.binding == "slo-p99"
    assert re.fullmatch(
        r"service: p99 of 3ms cannot be held on cpu: one request alone takes 7\.\d+ms at p99, "
        r"and 10% of the SLO is kept free",
        error.message,
    )
    offered = re.fullmatch(r"kserve-ext\.dev/slo-p99: (\S+) holds 40 rps", error.nearest)
    assert offered is not None
    nearest_s = parse_duration_s(offered[1])
    assert plan(request(intent(slo_s=nearest_s, high_rps=40))).replicas_at_high_rate >= 1
    refusal(intent(slo_s=nearest_s / 1.4, high_rps=40))  # a step of 1.25, and two digits


def test_too_few_replicas_name_how_many_are_needed_how_much_they_carry_and_how_long_an_slo_would_do() -> None:
    wanted = intent(slo_s=0.02, high_rps=3000, max_replicas=3)
    error = refusal(wanted)
    assert error.binding == "max-replicas"
    assert "3000 rps within 20ms need" in error.message
    assert "kserve-ext.dev/max-replicas allows 3" in error.message
    replicas = re.search(r'kserve-ext\.dev/max-replicas: "(\d+)"', error.nearest)
    rate = re.search(r"a rate of at most (\d+)rps", error.nearest)
    slo = re.search(r"slo-p99: (\S+)", error.nearest)
    assert replicas is not None
    assert rate is not None
    assert slo is not None
    more = int(replicas[1])
    assert plan(request(replace(wanted, max_replicas=more))).replicas_at_high_rate == more
    refusal(replace(wanted, max_replicas=more - 1))
    high_rps = float(rate[1])
    assert plan(request(replace(wanted, rate=RateRange(low_rps=1, high_rps=high_rps)))).replicas_at_high_rate == 3
    refusal(replace(wanted, rate=RateRange(low_rps=1, high_rps=high_rps * 1.01)))
    longer = Slo(p99_s=parse_duration_s(slo[1]))
    assert plan(request(replace(wanted, slo=longer))).replicas_at_high_rate <= 3


def test_more_than_the_replicas_can_ever_carry_offers_no_longer_slo() -> None:
    error = refusal(intent(slo_s=0.02, high_rps=100_000, max_replicas=2))
    assert "slo-p99" not in error.nearest
    assert error.nearest.startswith('kserve-ext.dev/max-replicas: "')


def test_an_slo_too_short_with_replicas_too_few_offers_both_together() -> None:
    wanted = intent(slo_s=0.003, high_rps=5000, max_replicas=2)
    offered = re.fullmatch(
        r'kserve-ext\.dev/slo-p99: (\S+) with kserve-ext\.dev/max-replicas: "(\d+)" holds 5000 rps',
        refusal(wanted).nearest,
    )
    assert offered is not None
    both = replace(wanted, slo=Slo(p99_s=parse_duration_s(offered[1])), max_replicas=int(offered[2]))
    assert plan(request(both)).replicas_at_high_rate == int(offered[2])


def test_a_replica_that_carries_less_than_one_request_a_second_is_offered_a_rate_above_zero() -> None:
    slow = profile(stage_profile(fixed_s=5.0, row_s=1.0, batches=(1, 2)))
    with pytest.raises(InfeasibleError) as caught:
        plan(request(intent(slo_s=12.0, low_rps=1, high_rps=3, max_replicas=1), slow))
    rate = re.search(r"a rate of at most (0\.\d+)rps", caught.value.nearest)
    assert rate is not None
    fitting = intent(slo_s=12.0, low_rps=0.001, high_rps=float(rate[1]), max_replicas=1)
    assert plan(request(fitting, slow)).replicas_at_high_rate == 1


def test_a_longer_slo_is_looked_for_with_the_instances_that_carry_most() -> None:
    """One instance takes 1200 rps at most, so 2000 on one replica hold only with two."""
    two = profile(stage_profile(instances=2, slowing=0.0))
    wanted = intent(slo_s=0.012, high_rps=2000, max_replicas=1)
    with pytest.raises(InfeasibleError) as caught:
        plan(request(wanted, two))
    slo = re.search(r"slo-p99: (\S+)", caught.value.nearest)
    assert slo is not None
    longer = plan(request(replace(wanted, slo=Slo(p99_s=parse_duration_s(slo[1]))), two))
    assert (longer.stages[0].instances, longer.replicas_at_high_rate) == (2, 1)


def test_a_light_step_with_more_instances_than_the_slow_one_was_measured_with_is_no_obstacle() -> None:
    light = stage_profile("light", fixed_s=0.004, row_s=0.0004, instances=4, slowing=0.0)
    heavy = stage_profile("heavy", fixed_s=0.0045, row_s=0.0005, instances=1)
    with pytest.raises(InfeasibleError) as caught:
        plan(request(intent(slo_s=0.03, high_rps=3000, max_replicas=2), profile(light, heavy)))
    assert caught.value.binding == "max-replicas"


@given(st.floats(1e-6, 1e5))
def test_a_rounded_slo_is_never_shorter_has_two_digits_and_stays_when_rounded_again(seconds: float) -> None:
    rounded = round_up(seconds)
    assert seconds * (1 - 1e-6) <= rounded <= seconds * 1.11 + 1e-12
    assert float(f"{rounded:.2g}") == pytest.approx(rounded, abs=1e-12)
    assert round_up(rounded) == pytest.approx(rounded, rel=1e-6)


@given(st.floats(1e-3, 1e9))
def test_a_rounded_rate_is_never_higher_and_not_zero(rate_rps: float) -> None:
    rounded = round_down(rate_rps)
    assert 0.89 * rate_rps < rounded <= rate_rps
