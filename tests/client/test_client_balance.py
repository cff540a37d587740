from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.client.answer import Outcome
from kserve_ext.client.balance import (
    FIRST_REST_S,
    LONGEST_REST_S,
    STRIKES,
    Replica,
    Rule,
    begin,
    choose,
    give_up,
    reconcile,
    settle,
)

NOW_S = 1000.0
DRAWS = st.floats(0, 1, exclude_max=True)
REPLICAS = st.lists(
    st.builds(
        Replica,
        address=st.uuids().map(str),
        in_flight=st.integers(0, 5),
        latency_s=st.none() | st.floats(0, 10),
        observed_s=st.floats(0, NOW_S),
        strikes=st.integers(0, 2 * STRIKES),
        rests=st.integers(0, 9),
        rests_until_s=st.floats(0, 2 * NOW_S),
        gone=st.booleans(),
    ),
    max_size=6,
)


def pick(replicas: list[Replica], rule: Rule = Rule.LEAST_REQUEST, draw: float = 0.0) -> str:
    chosen = choose(replicas, now_s=NOW_S, rule=rule, draw=draw)
    assert chosen is not None
    return chosen.address


@given(REPLICAS, st.sampled_from(Rule), DRAWS, st.data())
def test_a_dead_replica_is_never_picked_while_a_live_one_is_there(
    replicas: list[Replica], rule: Rule, draw: float, data: st.DataObject
) -> None:
    avoid = data.draw(st.sets(st.sampled_from([replica.address for replica in replicas]))) if replicas else set()
    chosen = choose(replicas, now_s=NOW_S, rule=rule, draw=draw, avoid=avoid)
    if any(replica.live(NOW_S) for replica in replicas):
        assert chosen is not None
        assert chosen.live(NOW_S)
        others = any(replica.live(NOW_S) and replica.address not in avoid for replica in replicas)
        assert chosen.address not in avoid or not others
    elif any(not replica.gone for replica in replicas):
        assert chosen is not None
        assert not chosen.gone
    else:
        assert chosen is None


@given(st.integers(1, 9), st.integers(0, 6), st.sampled_from(Rule), st.data())
def test_equal_loads_are_spread_evenly(count: int, rounds: int, rule: Rule, data: st.DataObject) -> None:
    replicas = {name: Replica(address=name, latency_s=0.1, observed_s=NOW_S) for name in map(str, range(count))}
    for _ in range(rounds * count):
        address = pick(list(replicas.values()), rule, data.draw(DRAWS))
        replicas[address] = begin(replicas[address])
    assert {replica.in_flight for replica in replicas.values()} == {rounds}


@given(REPLICAS, DRAWS)
def test_least_request_picks_one_of_the_live_with_the_fewest(replicas: list[Replica], draw: float) -> None:
    live = [replica for replica in replicas if replica.live(NOW_S)]
    if live:
        chosen = next(replica for replica in live if replica.address == pick(replicas, draw=draw))
        assert chosen.in_flight == min(replica.in_flight for replica in live)


def test_equals_are_told_apart_by_chance_only() -> None:
    replicas = [Replica(address=name) for name in "abc"]
    picked = Counter(pick(replicas, draw=i / 300) for i in range(300))
    assert picked == {"a": 100, "b": 100, "c": 100}


def test_peak_ewma_gives_a_replica_that_is_twice_as_slow_half_the_requests() -> None:
    replicas = {
        name: Replica(address=name, latency_s=latency_s, observed_s=NOW_S) for name, latency_s in (("a", 1), ("b", 2))
    }
    for _ in range(30):
        address = pick(list(replicas.values()), Rule.PEAK_EWMA)
        replicas[address] = begin(replicas[address])
    assert {name: replica.in_flight for name, replica in replicas.items()} == {"a": 20, "b": 10}


def test_latency_follows_a_rise_at_once_and_a_fall_slowly() -> None:
    replica = settle(Replica(address="a", in_flight=2), Outcome.ANSWERED, took_s=0.1, now_s=NOW_S)
    risen = settle(replica, Outcome.ANSWERED, took_s=2.0, now_s=NOW_S + 1)
    fallen = settle(begin(risen), Outcome.ANSWERED, took_s=0.1, now_s=NOW_S + 2)
    assert risen.latency_s == 2.0
    assert fallen.latency_s is not None
    assert 1.5 < fallen.latency_s < 2.0


def test_a_replica_that_was_slow_once_is_tried_again_when_the_memory_has_faded() -> None:
    slow = Replica(address="slow", latency_s=5.0, observed_s=NOW_S - 100)
    fast = Replica(address="fast", latency_s=0.1, observed_s=NOW_S)
    assert pick([slow, fast], Rule.PEAK_EWMA) == "slow"
    assert pick([replace(slow, observed_s=NOW_S), fast], Rule.PEAK_EWMA) == "fast"


def test_a_new_replica_is_taken_for_a_middling_one() -> None:
    known = [Replica(address=name, latency_s=latency_s, observed_s=NOW_S) for name, latency_s in (("a", 1), ("b", 3))]
    assert pick([*known, Replica(address="new")], Rule.PEAK_EWMA) == "a"
    assert pick([begin(begin(begin(known[0]))), known[1], Replica(address="new")], Rule.PEAK_EWMA, 0.9) == "new"


def test_a_replica_that_is_not_reached_rests_at_once_and_longer_each_time() -> None:
    replica, now_s, rests = Replica(address="a"), NOW_S, []
    for _ in range(9):
        replica = settle(begin(replica), Outcome.UNAVAILABLE, took_s=0.0, now_s=now_s)
        rests.append(replica.rests_until_s - now_s)
        assert not replica.live(now_s)
        now_s = replica.rests_until_s
        assert replica.live(now_s)
    assert rests == pytest.approx([min(LONGEST_REST_S, FIRST_REST_S * 2**i) for i in range(9)])


def test_what_fails_together_makes_one_rest() -> None:
    replica = Replica(address="a", in_flight=30)
    for _ in range(30):
        replica = settle(replica, Outcome.LOST, took_s=0.0, now_s=NOW_S)
    assert (replica.in_flight, replica.rests, replica.rests_until_s) == (0, 1, NOW_S + FIRST_REST_S)


def test_a_replica_on_trial_gets_one_request_at_a_time_until_it_answers() -> None:
    rested = Replica(address="a", strikes=STRIKES, rests=3, rests_until_s=NOW_S)
    assert rested.live(NOW_S)
    assert not begin(rested).live(NOW_S)
    cured = settle(begin(begin(rested)), Outcome.ANSWERED, took_s=0.1, now_s=NOW_S)
    assert cured.in_flight == 1
    assert cured.live(NOW_S)
    assert cured.rests == 0


def test_one_failed_request_is_no_reason_to_rest_but_five_in_a_row_are() -> None:
    replica = Replica(address="a")
    for strikes in range(1, STRIKES + 1):
        replica = settle(begin(replica), Outcome.FAILED, took_s=0.1, now_s=NOW_S)
        assert replica.live(NOW_S) == (strikes < STRIKES)
    wrong_input = Replica(address="b", strikes=4)
    assert settle(begin(wrong_input), Outcome.REFUSED, took_s=0.1, now_s=NOW_S).strikes == 0


def test_a_quick_failure_does_not_make_a_replica_look_fast() -> None:
    replica = Replica(address="a", in_flight=1, latency_s=1.0, observed_s=NOW_S)
    assert settle(replica, Outcome.FAILED, took_s=0.001, now_s=NOW_S + 5).latency_s == 1.0


def test_a_server_that_asks_to_be_left_alone_is_left_alone_for_so_long() -> None:
    replica = settle(Replica(address="a", in_flight=1), Outcome.UNAVAILABLE, took_s=0.1, now_s=NOW_S, rest_s=2.0)
    assert replica.rests_until_s == NOW_S + 2.0


def test_a_request_nobody_waits_for_teaches_nothing() -> None:
    replica = Replica(address="a", in_flight=1, latency_s=1.0, strikes=2)
    assert give_up(replica) == replace(replica, in_flight=0)


@given(REPLICAS, st.sets(st.sampled_from("abcdef")))
def test_after_a_look_up_every_address_is_there_once_and_answers_still_come_home(
    replicas: list[Replica], addresses: set[str]
) -> None:
    before = {replica.address: replica for replica in (*replicas, Replica(address="a", in_flight=3, gone=True))}
    after = reconcile(before.values(), addresses)
    assert sorted(r.address for r in after if not r.gone) == sorted(addresses)
    assert all(r.in_flight for r in after if r.gone)
    assert sum(r.in_flight for r in after) == sum(r.in_flight for r in before.values())
    assert len({r.address for r in after}) == len(after)
