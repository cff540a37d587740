"""What follows from a load: the answers for plain cases, and for the eight traces that are kept."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.errors import InputError
from kserve_ext.traffic import Advice, Trace, Traffic, analyse, read_trace, read_traces
from kserve_ext.traffic.seasons import noticed
from kserve_ext.traffic.wording import bars, headline, lines, span

DATA = Path(__file__).parents[2] / "benchmarks" / "data"
AZURE, HOUR = "azure_functions_2019_days_1_7.csv", "autothrottle_1h.csv"


def trace(counts: object, step_s: int = 60) -> Trace:
    return Trace(service="a", start_s=0, step_s=step_s, counts=tuple(np.asarray(counts, dtype=np.int64).tolist()))


def poisson(rates: object, steps: int | None = None) -> np.ndarray:
    return np.random.default_rng(1).poisson(rates, steps)


def code(found: Traffic, field: str) -> str:
    return next(reason.code for reason in found.advice.reasons if reason.field == field)


def finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, (tuple, list)):
        return all(map(finite, value))
    return not isinstance(value, float) or bool(np.isfinite(value))


EXPECTED = {  # service: mode, scaler, floor and why, season
    "dense_a": ("always-on", "kpa", True, "floor-season", "day"),
    "dense_b": ("always-on", "hpa", True, "floor-season", "day"),
    "bursty_a": ("always-on", "kpa", True, "floor-season", "day"),
    "bursty_b": ("always-on", "kpa", True, "floor-season", "day"),
    "diurnal": ("always-on", "hpa", False, "floor-nothing-to-foresee", None),
    "diurnal_2": ("always-on", "hpa", False, "floor-nothing-to-foresee", None),
    "noisy": ("always-on", "kpa", True, "floor-rise", None),
    "bursty": ("always-on", "kpa", True, "floor-rise", None),
}


@pytest.mark.parametrize("service", EXPECTED)
def test_the_kept_traces_get_the_answers_that_their_shape_calls_for(service: str) -> None:
    file = AZURE if "_a" in service or "_b" in service else HOUR
    found = analyse(read_trace((DATA / file).read_text(), file, service))
    mode, scaler, floor, why, season = EXPECTED[service]
    assert (found.advice.mode, found.advice.scaler, found.advice.floor) == (mode, scaler, floor)
    assert code(found, "floor") == why
    assert found.advice.window_s == 70
    assert next((each.name for each in noticed(found.seasons)), None) == season
    assert [note.code for note in found.notes] == (
        ["less-than-three-weeks", "coarse-steps"] if file == AZURE else ["less-than-three-days", "smoothed"]
    )


def test_the_names_of_the_kept_traces_are_borne_out() -> None:
    jumps = {
        each.service: next(scale.jumps for scale in analyse(each).dispersion if scale.scale_s == 60)
        for file in (AZURE, HOUR)
        for each in read_traces((DATA / file).read_text(), file)
    }
    assert jumps["bursty_a"] > 5 * jumps["dense_a"] > 5 * jumps["dense_b"] / 2
    assert jumps["noisy"] > 2 * max(jumps["diurnal"], jumps["diurnal_2"])


def test_no_traffic_is_answered_and_not_measured() -> None:
    found = analyse(trace([0] * 1000))
    assert found.advice == Advice(
        mode="serverless", scaler="kpa", window_s=None, floor=False, reasons=found.advice.reasons
    )
    assert {reason.code for reason in found.advice.reasons} == {"no-traffic"}
    assert headline(found) == "No request at all"
    assert len(lines(found)) == 1
    assert finite(asdict(found))


def test_a_constant_load_gets_a_fixed_count() -> None:
    found = analyse(trace([600] * 5000))
    assert (found.advice.mode, found.advice.scaler, found.advice.floor) == ("always-on", "fixed", False)
    assert (found.swing.peak, found.swing.rise, found.spikes.found) == (1, 0, ())
    assert "smoothed" in {note.code for note in found.notes}
    assert headline(found) == "Level at 10 requests per second"


@pytest.mark.parametrize("mean", [0.2, 5.0, 5000.0])
def test_a_load_that_moves_only_by_chance_gets_a_fixed_count(mean: float) -> None:
    assert analyse(trace(poisson(mean, 10_000))).advice.scaler == "fixed"


def test_long_pauses_with_busy_times_between_are_for_serverless() -> None:
    hours = np.resize([1, 0, 0, 0, 0, 0], 24 * 7)
    found = analyse(trace(poisson(np.repeat(hours * 600.0, 60))))
    assert (found.advice.mode, found.advice.scaler) == ("serverless", "kpa")
    assert found.idle.spared == pytest.approx(5 / 6, abs=0.01)
    assert found.idle.late < 0.01


def test_a_request_now_and_then_would_always_wait_and_is_kept_always_on() -> None:
    counts = np.zeros(10_000, dtype=np.int64)
    counts[30::60] = 1
    found = analyse(trace(counts))
    assert (found.advice.mode, code(found, "mode"), found.idle.late) == ("always-on", "cold-starts-cost", 1.0)


def test_unforeseeable_spikes_faster_than_a_start_up_ask_for_spare_replicas() -> None:
    rates = np.full(8640, 50.0)
    for start in np.random.default_rng(2).integers(200, len(rates) - 200, 20):
        rates[start : start + 12] = 400
    found = analyse(trace(poisson(rates), 10))
    assert (found.advice.scaler, code(found, "floor")) == ("kpa", "floor-spikes")


@pytest.mark.parametrize(
    ("rate_rps", "start_up_s", "window_s", "why"),
    [
        (10, 20, 60, "window-default"),
        (10, 35, 70, "window-two-starts"),
        (0.5, 35, 200, "window-fills"),
        (0.01, 35, 70, "window-two-starts"),
        (0.01, 20, 60, "window-default"),
        (10, 2500, 3600, "window-two-starts"),
    ],
)
def test_the_window_is_as_long_as_two_start_ups_and_holds_a_hundred_requests_where_that_is_not_too_long(
    rate_rps: float, start_up_s: float, window_s: float, why: str
) -> None:
    steady = np.diff(np.floor(np.arange(2001) * rate_rps * 60))
    found = analyse(trace(steady), start_up_s=start_up_s)
    assert (found.advice.window_s, code(found, "window_s")) == (window_s, why)


def test_a_trace_shorter_than_two_start_ups_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        analyse(trace([3] * 9, 10), start_up_s=60.0)
    assert "a: the trace is too short" in caught.value.message
    assert "90s" in caught.value.message
    assert analyse(trace([3] * 12, 10), start_up_s=60.0).requests == 36


def test_a_longer_start_up_never_makes_a_slow_load_of_a_fast_one() -> None:
    text = (DATA / HOUR).read_text()
    rises = [analyse(read_trace(text, HOUR, "bursty"), start_up_s=s).swing.rise for s in (5.0, 35.0, 120.0, 300.0)]
    assert rises == sorted(rises)


@given(st.lists(st.integers(0, 50), min_size=8, max_size=120), st.sampled_from([1, 7, 60, 3600]))
def test_any_load_is_answered_with_finite_numbers_and_a_reason_for_each_setting(counts: list[int], step_s: int) -> None:
    found = analyse(trace(counts, step_s), start_up_s=2.0)
    assert finite(asdict(found))
    assert {reason.field for reason in found.advice.reasons} == {"mode", "scaler", "window_s", "floor"}
    assert all(text for _, text in lines(found))
    assert found == analyse(trace(counts, step_s), start_up_s=2.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (35, "35s"), (60, "1 min"), (90, "90s"), (3600, "1 h"), (5400, "90 min"), (172_800, "2 days")],
)
def test_a_span_is_told_in_the_largest_unit_without_a_fraction(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0, 1, 2, 4, 8], "·▁▂▄█"),
        ([0] * 5, "·····"),
        ([3] * 120, "█" * 60),
        ([], ""),
        ([1000, 1], "█▁"),
    ],
)
def test_bars_show_the_share_of_the_largest_and_a_dot_for_nothing(values: list[float], line: str) -> None:
    assert bars(values) == line
