"""Who gets the next request, as tables from Knative's activator."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.path.balancing import Balancer, Balancing, activator_balancing


@pytest.mark.parametrize(
    ("limit", "way"),
    [
        (0, Balancing.TWO_CHOICES),
        (1, Balancing.FIRST_AVAILABLE),
        (3, Balancing.FIRST_AVAILABLE),
        (4, Balancing.ROUND_ROBIN),
        (64, Balancing.ROUND_ROBIN),
    ],
)
def test_the_activators_way_follows_from_the_limit(limit: int, way: Balancing) -> None:
    assert activator_balancing(limit) is way


@pytest.mark.parametrize(
    ("way", "chosen"),
    [
        (Balancing.FIRST_AVAILABLE, [0, 0, 1, 1, 2, 2, None]),
        (Balancing.ROUND_ROBIN, [0, 1, 2, 0, 1, 2, None]),
    ],
)
def test_pods_with_two_places_are_filled_in_order(way: Balancing, chosen: list[int | None]) -> None:
    balancer, held, seen = Balancer(way, places=2), [0, 0, 0], []
    for _ in chosen:
        seen.append(balancer.choose(held))
        if (last := seen[-1]) is not None:
            held[last] += 1
    assert seen == chosen


def test_the_turn_skips_a_full_pod_and_goes_on_after_the_one_it_took() -> None:
    balancer = Balancer(Balancing.ROUND_ROBIN, places=4)
    assert [balancer.choose(held) for held in ([0, 4, 0], [1, 4, 0], [1, 4, 1], [1, 0, 1])] == [0, 2, 0, 1]


def test_the_turn_starts_again_where_pods_have_gone() -> None:
    balancer = Balancer(Balancing.ROUND_ROBIN, places=4)
    assert [balancer.choose(held) for held in ([0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0])] == [0, 1, 2, 0]


def test_a_single_pod_starves_the_others_at_low_load_with_few_places() -> None:
    balancer = Balancer(Balancing.FIRST_AVAILABLE, places=3)
    assert {balancer.choose([0, 0, 0, 0]) for _ in range(50)} == {0}


def test_of_two_the_one_with_fewer_requests_is_chosen_and_a_tie_is_a_coin() -> None:
    balancer = Balancer(Balancing.TWO_CHOICES, places=None)
    assert {balancer.choose([5, 3]) for _ in range(50)} == {1}
    tied = Counter(balancer.choose([2, 2]) for _ in range(2000))
    assert tied[0] == pytest.approx(1000, abs=100)


def test_of_many_two_are_drawn_evenly_and_the_fullest_is_never_chosen() -> None:
    balancer = Balancer(Balancing.TWO_CHOICES, places=None)
    seen = Counter(balancer.choose([0, 1, 2, 3]) for _ in range(6000))
    assert [seen[pod] for pod in range(4)] == pytest.approx([3000, 2000, 1000, 0], abs=200)


def test_at_random_every_pod_gets_its_share_whatever_it_holds() -> None:
    balancer = Balancer(Balancing.RANDOM, places=None)
    seen = Counter(balancer.choose([9, 0, 0]) for _ in range(6000))
    assert [seen[pod] for pod in range(3)] == pytest.approx([2000] * 3, abs=200)


@given(st.sampled_from(Balancing), st.lists(st.integers(0, 5), max_size=6), st.integers(1, 5), st.integers(0, 99))
def test_a_choice_is_a_pod_with_a_place_and_none_only_without_one(
    way: Balancing, held: list[int], places: int, seed: int
) -> None:
    limited = way in (Balancing.ROUND_ROBIN, Balancing.FIRST_AVAILABLE)  # the other two are for pods without a limit
    chosen = Balancer(way, places=places if limited else None, seed=(seed,)).choose(held)
    free = [pod for pod, count in enumerate(held) if not limited or count < places]
    assert chosen in free if free else chosen is None


@given(st.sampled_from(Balancing), st.integers(0, 99))
def test_the_same_seed_chooses_the_same_pods(way: Balancing, seed: int) -> None:
    one, other = (Balancer(way, places=None, seed=(seed,)) for _ in range(2))
    assert [one.choose([1, 1, 1]) for _ in range(40)] == [other.choose([1, 1, 1]) for _ in range(40)]
