"""From services and their profiles to a fleet plan: what is offered, what is refused and why, spot, alternatives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SMALL, intent, profile, request, stage_profile
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Profile
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy import plan
from kserve_ext.policy.fleet import Fleet, Wanted, alternatives, plan_fleet, read_fleet
from kserve_ext.policy.fleet.alternatives import mark_front
from kserve_ext.policy.fleet.mig_layout import layouts, mig_config_map
from kserve_ext.policy.fleet.offers import round_down
from kserve_ext.policy.fleet.spot import spot_share

FLEET = """\
pools:
- {name: gpu, nodes: 1, gpu: a100-80gb, gpusPerNode: 2, pricePerHour: 8.0}
- {name: spot, nodes: 1, gpu: a100-80gb, gpusPerNode: 2, pricePerHour: 2.0, spot: true, notice: 30s, start: 270s,
   interruptionsPerHour: 0.1}
- {name: shares, nodes: 1, gpu: l4, sharing: {kind: time-slicing, replicas: 4}, pricePerHour: 1.0}
- {name: general, nodes: 2, cpu: 16, memory: 64Gi, pricePerHour: 0.8}
"""


def fleet(*, without: tuple[str, ...] = ("spot",)) -> Fleet:
    found = read_fleet(FLEET, "fleet.yaml")
    return replace(found, pools=tuple(pool for pool in found.pools if pool.name not in without))


def measured(hardware: str, *, host: dict[str, str] | None = None, instances: int = 2) -> Profile:
    made = profile(stage_profile(instances=instances), hardware=hardware)
    return replace(made, host=host or made.host)


def wanted(*hardware: str, name: str = "service", profiles: list[Profile] | None = None, **wish: float) -> Wanted:
    asked = replace(intent(hardware=hardware, **wish), name=name)
    known = profiles if profiles is not None else [measured(kind) for kind in hardware]
    return Wanted(intent=asked, profiles={each.hardware: each for each in known})


def planned(*services: Wanted, on: Fleet | None = None, **more: object):
    return plan_fleet(services, on or fleet(), plan, settings=SMALL, **more)


def codes(asked: Wanted, on: Fleet) -> set[str]:
    try:
        (found,) = planned(asked, on=on).services
    except InfeasibleError as error:
        return {error.message}
    return {reason.code for reason in found.reasons}


def test_a_service_gets_slices_that_carry_its_rate_and_the_node_a_layout() -> None:
    found = planned(wanted("a100-1g.10gb", high_rps=3000.0))
    (service,) = found.services
    assert service.resource == "nvidia.com/mig-1g.10gb"
    assert service.capacity_rps >= 3000
    assert service.replicas == len(found.places) > 1
    assert found.gpus_lower_bound <= found.gpus
    assert found.nodes[0].config == "all-1g.10gb"


def test_the_replicas_of_the_fleet_are_those_of_the_plan_alone() -> None:
    asked = wanted("a100-1g.10gb", high_rps=3000.0)
    alone = plan(request(asked.intent, asked.profiles["a100-1g.10gb"]))
    assert planned(asked).services[0].replicas == alone.replicas_at_high_rate


def test_a_share_profiled_alone_certifies_no_slo_and_the_reason_says_so() -> None:
    with pytest.raises(InfeasibleError, match="a share is not isolated"):
        planned(wanted("l4-shared"))


def test_a_share_profiled_under_its_neighbours_is_used_beside_them() -> None:
    one = wanted("l4-shared", name="a", profiles=[measured("l4-shared", host={"neighbours": "b"})], high_rps=10.0)
    other = wanted("l4-shared", name="b", profiles=[measured("l4-shared", host={"neighbours": "a"})], high_rps=10.0)
    found = planned(one, other)
    assert {service.resource for service in found.services} == {"nvidia.com/gpu.shared"}
    assert found.gpus == 1


def test_a_model_too_large_for_a_slice_is_not_offered_it() -> None:
    stage = replace(stage_profile(), memory_peak_bytes=30e9)
    large = [replace(profile(stage, hardware=kind)) for kind in ("a100-1g.10gb", "a100-3g.40gb")]
    (service,) = planned(wanted("a100-1g.10gb", "a100-3g.40gb", profiles=large)).services
    assert service.kind == "a100-80gb/3g.40gb"
    assert "memory-too-small" in {reason.code for reason in service.reasons}


def test_what_is_not_profiled_or_not_in_the_fleet_is_said() -> None:
    asked = wanted("a100-1g.10gb", "h100", "a100-3g.40gb", profiles=[measured("a100-1g.10gb"), measured("h100")])
    assert {"not-profiled", "not-in-fleet"} <= codes(asked, fleet())


def test_a_service_that_nothing_carries_is_named_with_the_reason() -> None:
    with pytest.raises(InfeasibleError, match=r"default/service: nothing in the fleet carries it .*cannot be held"):
        planned(wanted("a100-1g.10gb", slo_s=0.0001))


def test_too_few_replicas_allowed_is_said_with_what_one_carries() -> None:
    with pytest.raises(
        InfeasibleError, match=r"a replica on a100-80gb/1g\.10gb carries .* 90000 rps take more replicas"
    ):
        planned(wanted("a100-1g.10gb", high_rps=90_000.0, max_replicas=2))


def test_the_cheaper_kind_is_taken_where_prices_are_known() -> None:
    (service,) = planned(wanted("cpu", "a100-1g.10gb", high_rps=5.0)).services
    assert service.kind == "cpu"


def test_services_of_one_model_and_slo_are_planned_once() -> None:
    asked = []

    def counting(each):
        asked.append(each)
        return plan(each)

    shared = [measured("a100-1g.10gb")]
    many = [wanted("a100-1g.10gb", name=f"s{index}", profiles=shared, high_rps=10.0 + index) for index in range(5)]
    plan_fleet(many, fleet(), counting, settings=SMALL)
    assert len(asked) == 1


def test_an_earlier_plan_is_kept_when_a_service_comes() -> None:
    old = [wanted("a100-1g.10gb", name=name, high_rps=500.0) for name in "abc"]
    before = planned(*old)
    after = planned(*old, wanted("a100-1g.10gb", name="d", high_rps=500.0), current=before.places)
    assert set(before.places) <= set(after.places)
    assert after.moved == ()


def spot_pool(text: str = FLEET):
    return next(pool for pool in read_fleet(text, "fleet.yaml").pools if pool.spot)


def test_a_notice_as_long_as_a_start_leaves_only_the_quiet_rate_on_demand() -> None:
    pool = replace(spot_pool(), notice_s=600.0)
    assert spot_share(intent(low_rps=20, high_rps=400), pool, 5.0).on_demand == pytest.approx(0.05)


@pytest.mark.parametrize(("availability", "on_demand"), [(0.9, 0.05), (0.999, 0.85), (0.99999, 0.9985)])
def test_the_more_availability_the_less_spot(availability: float, on_demand: float) -> None:
    """270 + 30 - 30 s without the replica at 0.1 an hour: missing 0.75 % of the time; 0.1 % allow 13 % on spot."""
    share = spot_share(intent(availability=availability), spot_pool(), 30.0)
    assert share.on_demand == pytest.approx(on_demand, abs=0.02)


def test_what_the_availability_allows_runs_on_spot_and_the_rest_does_not() -> None:
    asked = wanted("a100-1g.10gb", high_rps=25000.0, low_rps=10.0, availability=0.99)
    (service,) = planned(asked, on=fleet(without=())).services
    assert service.on_spot > 0
    assert service.pools["gpu"] >= 1


def test_a_layout_that_nvidia_has_no_name_for_gets_one_of_ours() -> None:
    small, large = wanted("a100-1g.10gb", name="a", high_rps=100.0), wanted("a100-3g.40gb", name="b", high_rps=100.0)
    found = planned(small, large)
    (node, *_) = [node for node in found.nodes if any(node.gpus)]
    assert node.config.startswith("kserve-ext-")
    (devices,) = mig_config_map(found.nodes)["mig-configs"].values()
    assert sum(sum(device["mig-devices"].values()) * len(device["devices"]) for device in devices) == 2
    assert layouts(fleet(), found.places) == found.nodes


def test_alternatives_have_a_cost_and_a_front_that_none_beats() -> None:
    asked = wanted("cpu", "a100-1g.10gb", "l4-shared", high_rps=500.0)
    found = alternatives(asked.intent, asked.profiles, fleet(), plan, settings=SMALL, factors=(0.5, 1.0, 2.0))
    front = [one for one in found.found if one.best]
    assert {one.kind for one in found.found} == {"cpu", "a100-80gb/1g.10gb"}
    assert [reason.text for reason in found.refused] == ["a share certifies no SLO"]
    for one in found.found:
        assert one.cost_per_million == pytest.approx(one.cost_per_hour / (500 * 3600) * 1e6)
        beaten = any(o.p99_s < one.p99_s and o.cost_per_million < one.cost_per_million for o in found.found)
        assert not (one.best and beaten)
        assert one.best or any(o.p99_s <= one.p99_s and o.cost_per_million <= one.cost_per_million for o in front)


def test_without_prices_nothing_is_on_the_front() -> None:
    unpriced = replace(fleet(), pools=tuple(replace(pool, price_per_hour=None) for pool in fleet().pools))
    asked = wanted("a100-1g.10gb")
    found = alternatives(asked.intent, asked.profiles, unpriced, plan, settings=SMALL, factors=(1.0,))
    assert [one.best for one in mark_front(found.found)] == [False]


def test_spot_alternatives_count_what_must_stay_at_the_other_price() -> None:
    asked = wanted("a100-1g.10gb", high_rps=4000.0, low_rps=10.0, availability=0.99)
    found = alternatives(asked.intent, asked.profiles, fleet(without=()), plan, settings=SMALL, factors=(1.0,))
    mix, steady = sorted(found.found, key=lambda one: one.cost_per_hour)
    assert mix.pool == "spot + gpu"
    assert 0 < mix.spot_replicas < mix.replicas == steady.replicas


@given(st.floats(1e-4, 1e3))
def test_an_slo_is_rounded_down_by_about_a_tenth_at_most_and_a_round_one_stays(slo_s: float) -> None:
    assert slo_s / 1.12 <= round_down(slo_s) <= slo_s * (1 + 1e-9)
    assert round_down(round_down(slo_s)) == round_down(slo_s)


@pytest.mark.parametrize("slo_s", [0.06, 0.1, 0.12, 0.2, 0.25, 1.5])
def test_usual_slos_are_planned_for_as_they_are(slo_s: float) -> None:
    assert round_down(slo_s) == slo_s
