"""When requests arrive: blocks without gaps, times in order, counts that are kept, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.arrivals import Arrivals, Block, Counts, Exact, Modulated, Rates, per_second

SOURCES: dict[str, Arrivals] = {
    "counts a second": Counts(counts=(3, 0, 7) * 70),
    "counts an hour": Counts(counts=(90, 0, 400), step_s=3600),
    "counts in odd steps": Counts(counts=(5, 9, 0, 4) * 9, step_s=7),
    "rates": Rates(rates_rps=(2.0, 0.0, 9.0)),
    "rates a second": Rates(rates_rps=(2.0, 0.0, 9.0) * 50, step_s=1),
    "modulated": Modulated(rates_rps=(30.0, 0.0, 5.0), stays_s=(4.0, 9.0, 90.0), duration_s=200),
    "exact": Exact(times_s=(0.0, 0.5, 70.0, 70.0, 99.9)),
}
every_source = pytest.mark.parametrize("arrivals", SOURCES.values(), ids=SOURCES)


@every_source
def test_blocks_follow_each_other_and_hold_their_times_in_order(arrivals: Arrivals) -> None:
    blocks = list(arrivals.blocks(3))
    assert [block.start_s for block in blocks] == [0, *(block.end_s for block in blocks[:-1])]
    assert blocks[-1].end_s == arrivals.duration_s
    for block in blocks:
        assert (np.diff(block.times_s) >= 0).all()
        assert ((block.times_s >= block.start_s) & (block.times_s <= block.end_s)).all()


@every_source
def test_short_steps_are_joined_to_blocks_of_a_minute_and_more(arrivals: Arrivals) -> None:
    assert all(block.end_s - block.start_s >= 60 for block in list(arrivals.blocks(3))[:-1])


@every_source
def test_the_same_seed_gives_the_same_times(arrivals: Arrivals) -> None:
    for one, other in zip(arrivals.blocks(5), arrivals.blocks(5), strict=True):
        assert one.times_s.tolist() == other.times_s.tolist()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=100), st.integers(1, 90), st.integers(0, 99))
def test_counts_are_kept_in_every_step(counts: list[int], step_s: int, seed: int) -> None:
    arriving = per_second(Counts(counts=tuple(counts), step_s=step_s), seed)
    assert arriving.reshape(-1, step_s).sum(axis=1).tolist() == counts


def test_a_time_that_was_rounded_up_to_the_end_of_a_block_counts_in_its_last_second() -> None:
    assert Block(60, 63, np.array([60.0, 61.0, 61.5, 63.0])).counts().tolist() == [1, 2, 1]
    assert Block(9, 10, np.array([9.1, 9.2])).counts().tolist() == [2]


def test_modulated_arrivals_have_the_mean_rate_of_their_states_weighted_by_their_stays() -> None:
    source = Modulated(rates_rps=(40.0, 0.0), stays_s=(5.0, 15.0), duration_s=40_000)
    assert per_second(source, 1).mean() == pytest.approx(10.0, rel=0.05)
