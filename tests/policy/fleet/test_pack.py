"""Packing: legal, enough, few GPUs, few moves; and never more than a proven bound away without saying so."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy.fleet.fleet_cases import A30, A100, cards, faults, fewest_gpus, service, services

from kserve_ext.errors import InfeasibleError
from kserve_ext.policy.fleet.board import Gpu, Node
from kserve_ext.policy.fleet.demand import Demand, Offer, mixed, uniform
from kserve_ext.policy.fleet.pack import MOVES_FOR_ONE, pack
from kserve_ext.policy.fleet.shapes import Shape, mig_shape, shared_shape, whole_slot
from kserve_ext.policy.gpu.mig import BY_KEY

NODE = [Node(name="n")]
few = settings(max_examples=15)


@few
@given(services())
def test_a_layout_is_always_legal_and_every_service_gets_its_capacity(demands: list[Demand]) -> None:
    gpus = cards(60)
    packed = pack(demands, gpus, NODE)
    assert faults(packed.places, demands, gpus) == []
    assert packed.gpus_bound <= packed.gpus == len({place.gpu for place in packed.places})


@few
@given(services(), st.randoms(use_true_random=False))
def test_the_order_of_services_and_gpus_changes_nothing(demands: list[Demand], chance: random.Random) -> None:
    gpus = cards(40)
    first = pack(demands, gpus, NODE)
    chance.shuffle(demands)
    chance.shuffle(gpus)
    assert pack(demands, gpus, NODE) == first


@few
@given(services(), services(most=1))
def test_one_more_service_moves_at_most_two_others(demands: list[Demand], more: list[Demand]) -> None:
    gpus = cards(60)
    before = pack(demands, gpus, NODE)
    new = Demand(service="new", rate_rps=more[0].rate_rps, offers=more[0].offers, options=more[0].options)
    after = pack([*demands, new], gpus, NODE, current=before.places)
    stayed = {place for place in after.places if place.service != "new"}
    assert len({place.service for place in set(before.places) ^ stayed}) <= MOVES_FOR_ONE
    assert set(after.moved) == {place.service for place in set(before.places) - stayed}
    assert faults(after.places, [*demands, new], gpus) == []


@settings(max_examples=25)
@given(services(model=A30, most=4, largest=2.5))
def test_small_fleets_get_the_fewest_gpus_there_can_be(demands: list[Demand]) -> None:
    fewest = fewest_gpus(demands, A30)
    packed = pack(demands, cards(20, A30), NODE)
    assert packed.gpus == fewest
    assert packed.gpus_bound <= fewest


@settings(max_examples=15)
@given(services(most=3, largest=2.0))
def test_small_fleets_with_seven_slices_get_the_fewest_gpus_too(demands: list[Demand]) -> None:
    assert pack(demands, cards(20), NODE).gpus == fewest_gpus(demands, A100)


@few
@given(services())
def test_what_runs_and_suffices_stays_where_it_is(demands: list[Demand]) -> None:
    gpus = cards(40)
    before = pack(demands, gpus, NODE)
    again = pack(demands, gpus, NODE, current=before.places)
    assert again.places == before.places
    assert again.moved == ()


def test_a_four_and_a_three_share_a_gpu_and_two_fours_do_not() -> None:
    four, three = ({f"{n}": 1.0} for n in ("4g.40gb", "3g.40gb"))
    assert pack([service("a", 1, four), service("b", 1, three)], cards(4), NODE).gpus == 1
    assert pack([service("a", 1, four), service("b", 1, four)], cards(4), NODE).gpus == 2


def test_a_service_moves_when_that_saves_a_gpu() -> None:
    """A small slice in the middle of a GPU keeps a large one out: it makes room."""
    small, large = service("small", 1, {"1g.10gb": 1.0}), service("large", 1, {"7g.80gb": 1.0})
    half = service("half", 1, {"4g.40gb": 1.0})
    gpus = cards(2)
    on_both = pack([small, half], gpus[:1], NODE).places
    moved = [place for place in on_both if place.service == "half"]
    alone = pack([small], gpus[1:], NODE).places
    after = pack([small, half, large], gpus, NODE, current=[*moved, *alone])
    assert after.gpus == 2
    assert after.moved in (("small",), ("half",))


def test_a_service_that_needs_more_gets_more_and_is_not_called_moved() -> None:
    before = pack([service("a", 10, {"1g.10gb": 10.0})], cards(2), NODE)
    after = pack([service("a", 30, {"1g.10gb": 10.0})], cards(2), NODE, current=before.places)
    assert len(after.places) == 3
    assert after.moved == ()


def test_a_service_that_needs_less_gives_slices_back() -> None:
    before = pack([service("a", 30, {"1g.10gb": 10.0})], cards(2), NODE)
    after = pack([service("a", 10, {"1g.10gb": 10.0})], cards(2), NODE, current=before.places)
    assert set(after.places) < set(before.places)
    assert (len(after.places), after.moved) == (1, ())


def test_a_gpu_that_is_gone_is_left() -> None:
    before = pack([service("a", 10, {"1g.10gb": 10.0})], cards(1, node="old"), [Node(name="old")])
    after = pack([service("a", 10, {"1g.10gb": 10.0})], cards(1), NODE, current=before.places)
    assert [place.node for place in after.places] == ["n"]


def test_what_must_stay_is_not_on_spot_and_the_rest_is_where_it_is_cheaper() -> None:
    steady, spot = cards(2, weight=4.0, node="n"), cards(2, spot=True, weight=1.0, node="spot")
    demand = service("a", 100, {"1g.10gb": 10.0}, on_demand=0.4)
    packed = pack([demand], [*steady, *spot], [*NODE, Node(name="spot", spot=True)])
    assert faults(packed.places, [demand], [*steady, *spot]) == []
    assert {place.node for place in packed.places} == {"n", "spot"}
    assert packed.cost == pytest.approx(5.0)
    assert packed.cost_bound == pytest.approx(5.0)


def test_room_on_a_gpu_that_is_paid_for_is_used_before_a_cheap_one_is_opened() -> None:
    steady, spot = cards(2, weight=4.0, node="n"), cards(2, spot=True, weight=1.0, node="spot")
    demand = service("a", 50, {"1g.10gb": 10.0}, on_demand=0.4)
    packed = pack([demand], [*steady, *spot], [*NODE, Node(name="spot", spot=True)])
    assert {place.node for place in packed.places} == {"n"}
    assert packed.cost == packed.cost_bound == pytest.approx(4.0)


def test_without_a_share_that_must_stay_all_is_on_the_cheaper_gpus() -> None:
    steady, spot = cards(2, weight=4.0, node="n"), cards(2, spot=True, weight=1.0, node="spot")
    packed = pack([service("a", 50, {"1g.10gb": 10.0})], [*steady, *spot], [*NODE, Node(name="spot", spot=True)])
    assert {place.node for place in packed.places} == {"spot"}


def test_the_memory_and_cores_of_a_node_bind_too() -> None:
    offer = Offer(kind="a100-80gb/1g.10gb", capacity_rps=1.0, cpu_cores=2.0)
    demand = Demand(service="a", rate_rps=7, offers={offer.kind: offer}, options=uniform(7, [offer]))
    gpus = [*cards(1, node="n"), *cards(1, node="m")]
    packed = pack([demand], gpus, [Node(name="n", cpu_cores=8), Node(name="m", cpu_cores=8)])
    assert sorted(place.node for place in packed.places).count("n") in (3, 4)


def test_a_replica_on_cpu_takes_no_gpu() -> None:
    offer = Offer(kind="cpu", capacity_rps=5.0, cpu_cores=2.0)
    demand = Demand(service="a", rate_rps=10, offers={"cpu": offer}, options=uniform(10, [offer]))
    packed = pack([demand], [], [Node(name="c", cpu_cores=4)])
    assert (packed.gpus, [place.node for place in packed.places]) == (0, ["c", "c"])


def test_no_room_names_the_service_and_what_would_do() -> None:
    with pytest.raises(InfeasibleError, match=r"no room for b .* 1 x a100-80gb/7g.80gb"):
        pack([service("a", 1, {"7g.80gb": 1.0}), service("b", 1, {"7g.80gb": 1.0})], cards(1), NODE)


def shared(name: str, neighbours: set[str]) -> Demand:
    offer = Offer(kind="l4/shared", capacity_rps=1.0, neighbours=frozenset(neighbours))
    return Demand(service=name, rate_rps=1.0, offers={offer.kind: offer}, options=uniform(1.0, [offer]))


def test_shares_of_one_gpu_go_only_to_services_profiled_beside_each_other() -> None:
    gpus = [Gpu(name=f"n/{index}", node="n", shape=shared_shape(BY_KEY["l4"], 4)) for index in range(3)]
    demands = [shared("a", {"b"}), shared("b", {"a", "c"}), shared("c", {"x"})]
    packed = pack(demands, gpus, NODE)
    on = {place.service: place.gpu for place in packed.places}
    assert on["a"] == on["b"] != on["c"]


def test_a_mig_gpu_used_whole_takes_nothing_beside() -> None:
    shape = Shape((*mig_shape(A100).slots, whole_slot(A100)))
    gpus = [Gpu(name=f"n/{index}", node="n", shape=shape) for index in range(2)]
    packed = pack([service("a", 1, {"gpu": 1.0}), service("b", 1, {"1g.10gb": 1.0})], gpus, NODE)
    assert packed.gpus == 2


def test_only_one_slice_of_a_gpu_has_the_media_engines() -> None:
    gpus = [Gpu(name=f"n/{index}", node="n", shape=mig_shape(A100, ["1g.10gb+me", "1g.10gb"])) for index in range(3)]
    packed = pack([service("a", 2, {"1g.10gb+me": 1.0}), service("b", 5, {"1g.10gb": 1.0})], gpus, NODE)
    assert packed.gpus == 2


@given(st.floats(1, 60), st.lists(st.floats(1, 20), min_size=1, max_size=4))
def test_a_mix_of_slices_carries_the_rate_and_none_of_it_can_be_left_out(
    rate_rps: float, capacities: list[float]
) -> None:
    offers = [Offer(kind=f"k{index}", capacity_rps=rps) for index, rps in enumerate(capacities)]
    options, _ = mixed(rate_rps, offers)
    by_kind = {offer.kind: offer.capacity_rps for offer in offers}
    assert options
    for option in options:
        carried = sum(count * by_kind[kind] for kind, count in option.counts)
        assert carried >= rate_rps * (1 - 1e-6)
        assert all(carried - by_kind[kind] < rate_rps * (1 + 1e-6) for kind, _ in option.counts)


def test_a_gpu_with_very_many_shares_is_packed_too() -> None:
    names = [f"s{index:02}" for index in range(60)]
    gpus = [Gpu(name=f"n/{index}", node="n", shape=shared_shape(BY_KEY["l4"], 48)) for index in range(3)]
    packed = pack([shared(name, set(names)) for name in names], gpus, NODE)
    assert (packed.gpus, packed.gpus_bound) == (2, 2)
