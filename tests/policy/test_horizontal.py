"""HPA and KEDA from a plan: targets that follow from what a replica carries, and what no signal can tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from factories import SMALL, intent, profile, request, stage_profile
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.domain import Intent, Pins, Plan, Profile, Reason, Scaler
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy import plan
from kserve_ext.policy.check import check
from kserve_ext.policy.horizontal import Rise, Room, horizontal
from kserve_ext.policy.load import rise
from kserve_ext.policy.rehearsal import Carried
from kserve_ext.policy.signals import MOST_PERCENT, Signal

HORIZONTAL = tuple(one for one in Scaler if one not in (Scaler.KPA, Scaler.FIXED))
SLOW = profile(stage_profile(fixed_s=0.04, row_s=0.005))  # some replicas at a few hundred requests a second
ON_GPU = replace(SLOW, hardware="gpu")


def decided(scaler: Scaler, measured: Profile = ON_GPU, **changed: object) -> Plan:
    wanted = intent(slo_s=0.5, low_rps=10, high_rps=500, hardware=(measured.hardware,), scaler=scaler, **changed)
    return check(plan(request(wanted, measured)), "default")


def reason_of(found: Plan, field: str) -> Reason:
    (reason,) = [one for one in found.reasons if one.field == field]
    return reason


@pytest.mark.parametrize("scaler", HORIZONTAL)
def test_every_number_has_its_reason_and_none_is_about_the_autoscaler_that_is_not_there(scaler: Scaler) -> None:
    found = decided(scaler)
    assert found.horizontal is not None
    assert {one.field for one in found.reasons if one.field.startswith("scaling.")} == {
        "scaling.min_replicas", "scaling.max_replicas",
    }  # fmt: skip


@pytest.mark.parametrize("scaler", [Scaler.KPA, Scaler.FIXED, None])
def test_other_services_have_no_horizontal_autoscaler(scaler: Scaler | None) -> None:
    assert plan(request(intent(scaler=scaler))).horizontal is None


def test_the_target_for_requests_is_what_a_replica_carries_less_what_the_hpa_tolerates() -> None:
    found = decided(Scaler.KEDA_RPS)
    assert found.horizontal is not None
    share = reason_of(found, "horizontal.target").numbers["share"]
    assert found.horizontal.target == pytest.approx(share * found.capacity_rps / 1.1, abs=1e-3)


def test_the_target_for_the_cpu_is_what_was_measured_of_what_is_asked_for() -> None:
    found = decided(Scaler.HPA, replace(SLOW, cpu_per_request_s=0.002))
    assert found.horizontal is not None
    percent = 100 * found.capacity_rps * 0.002 / found.resources.cpu_cores
    numbers = reason_of(found, "horizontal.target").numbers
    assert found.horizontal.at_capacity == pytest.approx(percent)
    assert found.horizontal.target == int(min(percent, MOST_PERCENT) * numbers["share"] / 1.1)


def test_the_configured_delay_is_no_part_of_the_queue_that_is_scaled_by() -> None:
    found = decided(Scaler.KEDA_QUEUE)
    assert found.horizontal is not None
    assert 0 < found.horizontal.target < 1e3 * found.slo.p99_s


def test_a_share_that_ends_at_a_hundred_leaves_room_above_its_target() -> None:
    """A GPU that is always busy shows 100 %: with a target above 90 % the HPA would call that close enough for ever."""
    found = decided(Scaler.KEDA_GPU)
    assert found.horizontal is not None
    assert found.horizontal.target <= MOST_PERCENT / 1.1


def test_a_target_by_hand_is_kept() -> None:
    found = decided(Scaler.KEDA_RPS, pins=Pins(scale_target=7.0))
    assert found.horizontal is not None
    assert (found.horizontal.target, reason_of(found, "horizontal.target").code) == (7.0, "set-by-user")
    assert found.warnings == ()


def test_a_target_by_hand_beyond_what_a_replica_carries_is_warned_of() -> None:
    found = decided(Scaler.KEDA_RPS, pins=Pins(scale_target=1e4))
    assert [one.code for one in found.warnings] == ["target-above-capacity"]


@pytest.mark.parametrize(
    ("scaler", "measured", "why"),
    [
        (Scaler.KEDA_GPU, SLOW, "there is no GPU"),
        (Scaler.KEDA_GPU, replace(SLOW, hardware="a100-1g.10gb"), "a MIG slice has no utilization of its own"),
        (Scaler.KEDA_GPU, replace(SLOW, hardware="l4-shared"), "busy with others"),
        (Scaler.HPA, replace(ON_GPU, cpu_per_request_s=1e-6), "of the CPU it asks for"),
    ],
    ids=["no GPU", "a slice", "a share", "no CPU"],
)
def test_a_signal_that_says_nothing_of_the_load_is_refused_with_one_that_does(
    scaler: Scaler, measured: Profile, why: str
) -> None:
    with pytest.raises(InfeasibleError, match=why) as caught:
        decided(scaler, measured)
    assert (caught.value.binding, caught.value.nearest) == ("scaler", "kserve-ext.dev/scaler: keda-rps")


def test_keda_at_zero_replicas_is_told_what_it_loses() -> None:
    found = decided(Scaler.KEDA_RPS, pins=Pins(min_replicas=0))
    assert found.horizontal is not None
    assert found.horizontal.polling_s > 0 < found.horizontal.cooldown_s
    assert "keda-zero-loses-requests" in [one.code for one in found.warnings]


def test_above_zero_nothing_is_polled_and_while_the_query_fails_the_busy_rate_is_held() -> None:
    found = decided(Scaler.KEDA_RPS)
    assert found.horizontal is not None
    assert (found.horizontal.polling_s, found.horizontal.cooldown_s) == (0.0, 0.0)
    assert found.horizontal.fallback_replicas == found.replicas_at_high_rate > 1


def test_the_cpu_beside_an_accelerator_is_warned_of() -> None:
    found = decided(Scaler.HPA, replace(ON_GPU, cpu_per_request_s=0.002))
    assert [one.code for one in found.warnings] == ["cpu-beside-accelerator"]


# ------------------------------------------------------------------------------------------------------------- laws

signals: Callable[[], st.SearchStrategy[Signal]] = lambda: st.builds(  # noqa: E731
    Signal,
    scaler=st.just(Scaler.KEDA_RPS), at_capacity=st.just(100.0), scaled_by=st.just(100.0), busy_share=st.just(0.8),
    served_s=st.just(0.05), what=st.just("requests"), words=st.just("words"), code=st.just("code"),
)  # fmt: skip
CARRIED = Carried(
    capacity_rps=100.0, saturated_rps=125.0, concurrency=(0.0, 2.0, 4.0, 6.0, 10.0), slo_s=0.2, start_s=6.0
)


@settings(deadline=None, max_examples=15)
@given(signal=signals(), high_rps=st.floats(50, 900), span_s=st.integers(30, 600), most=st.integers(1, 12))
def test_the_same_rise_gives_the_same_target_within_the_tolerance(
    signal: Signal, high_rps: float, span_s: int, most: int
) -> None:
    rates = rise(replace(intent().rate, low_rps=10.0, high_rps=high_rps), span_s)
    room = Room(min_replicas=1, max_replicas=most, needed=most)
    found, again = (
        horizontal(signal, room, CARRIED, Rise(rates_rps=rates, words="a rise"), pinned=None, seed=1) for _ in range(2)
    )
    assert found == again
    assert 0.7 * 100 / 1.1 - 1e-3 <= found[0].target <= 100 / 1.1
    assert 1 <= found[0].up_replicas <= max(1, most - 1)


@pytest.mark.parametrize(
    ("node_start_s", "count"), [(60.0, 2), (240.0, 8), (1e5, 9)], ids=["minute", "four", "for ever"]
)
def test_placeholders_keep_room_for_what_a_rise_asks_for_while_a_node_comes(node_start_s: float, count: int) -> None:
    """From 0 to 900 rps in 30 minutes: 30 rps more each minute, 20 rps a replica; at most 9 replicas are added at all."""
    from kserve_ext.policy.placeholders import placeholders

    rates = np.linspace(0.0, 900.0, 1801)
    found, reason = placeholders(node_start_s, rates, 15.0, 9)
    assert found == count
    assert reason.numbers["node_start_s"] == node_start_s


def test_no_placeholders_are_planned_that_nobody_asked_for() -> None:
    assert plan(request(intent())).placeholders is None


def test_a_node_that_takes_longer_never_needs_fewer_placeholders() -> None:
    def of(node_start_s: float) -> int:
        wanted: Intent = intent(slo_s=0.5, low_rps=10, high_rps=500, node_start_s=node_start_s)
        return plan(request(wanted, SLOW, settings=SMALL)).placeholders or 0

    counts = [of(node_start_s) for node_start_s in (1.0, 5.0, 20.0)]
    assert counts == sorted(counts)
    assert counts[0] >= 1
