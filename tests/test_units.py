from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kserve_ext.units import (
    format_cpu,
    format_duration,
    format_mebibytes,
    parse_duration_s,
    parse_quantity,
    parse_rate_rps,
)

DURATIONS = [
    ("500us", 0.0005), ("500µs", 0.0005), ("80ms", 0.08), ("1.5s", 1.5), ("2m", 120.0), ("1h", 3600.0),
    ("1m30s", 90.0), ("1h0.5s", 3600.5), ("0s1ms", 0.001), ("007s", 7.0),
]  # fmt: skip
NO_DURATIONS = [
    "", "0", "0s", "0ms0us", "80", "ms", "80 ms", " 80ms", "80ms ", "-80ms", "+1s", "1,5s", ".5s", "5.s", "1d",
    "80MS", "1e3ms", "fast", "80ms!", "1s and 2s", "nan", "inf", "9" * 400 + "s", f"0.{'0' * 400}1s",
]  # fmt: skip
RATES = [
    ("40rps", (40.0, 40.0)), ("40", (40.0, 40.0)), ("0.5rps", (0.5, 0.5)), ("600rpm", (10.0, 10.0)),
    ("20..400rps", (20.0, 400.0)), ("20rps..400rps", (20.0, 400.0)), ("60..600rpm", (1.0, 10.0)),
    (" 20 .. 400 rps ", (20.0, 400.0)), ("40..40rps", (40.0, 40.0)), ("20..400", (20.0, 400.0)),
]  # fmt: skip
NO_RATES = [
    "", "rps", "0", "0rps", "0..40rps", "-1rps", "400..20rps", "20rpm..400rps", "20rps..400", "20...400rps", "20..",
    "..400rps", "1..2..3rps", "40 per second", "40Rps", "1e3rps", "nan", "9" * 400 + "rps",
]  # fmt: skip
QUANTITIES: list[tuple[str | int | float, float]] = [
    ("2", 2.0), ("500m", 0.5), ("1.5", 1.5), ("1k", 1e3), ("2M", 2e6), ("3G", 3e9), ("1T", 1e12), ("1P", 1e15),
    ("512Mi", 512 * 2**20), ("2Gi", 2**31), ("1Ki", 1024), ("1Ti", 2**40), ("1Pi", 2**50), ("0", 0.0), ("+1", 1.0),
    ("-1", -1.0), ("1e3", 1e3), ("12E2", 1200.0), (4, 4.0), (0.5, 0.5), (1e22, 1e22),
]  # fmt: skip
NO_QUANTITIES: list[str | int | float] = [
    "", "Gi", "2 Gi", "2gi", "2GB", "2Mb", "1K", "m500", "0x10", "1e", "e3", "1_000", "nan", "inf", True,
    float("nan"), float("inf"), "1e400", "1e9999999", "1e99999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_not_a_duration_above_zero_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"80ms, 1\.5s, 2m"):
        parse_duration_s(text)


@given(st.floats(1e-9, 1e7))
def test_a_duration_that_is_printed_and_read_again_is_within_three_digits(seconds: float) -> None:
    assume(seconds >= 1e-7)  # below a tenth of a microsecond it is written with an exponent
    assert parse_duration_s(format_duration(seconds)) == pytest.approx(seconds, rel=0.0051)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0us"), (0.0123, "12.3ms"), (0.012345, "12.3ms"), (1, "1s"), (1.5, "1.5s"), (0.08, "80ms"),
        (0.00025, "250us"), (1e-6, "1us"), (90, "90s"), (999.4, "999s"), (3600, "3600s"), (999.7, "1000s"), (123456, "123456s"),
        (0.9999, "1s"), (0.0009999, "1ms"), (-0.08, "-80ms"),
    ],
)  # fmt: skip
def test_a_duration_is_printed_without_an_exponent(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("text", "rates_rps"), RATES)
def test_a_rate_or_a_range_is_read_as_requests_per_second(text: str, rates_rps: tuple[float, float]) -> None:
    assert parse_rate_rps(text) == pytest.approx(rates_rps)


@pytest.mark.parametrize("text", NO_RATES)
def test_what_is_not_a_rate_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"600rpm, or a range such as 20\.\.400rps"):
        parse_rate_rps(text)


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_a_range_is_read_with_its_lower_end_first_or_not_at_all(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert parse_rate_rps(f"{low}..{high}rps") == (low, high)
    if low < high:
        with pytest.raises(ValueError, match="the lower rate first"):
            parse_rate_rps(f"{high}..{low}rps")


@pytest.mark.parametrize(("text", "number"), QUANTITIES)
def test_a_kubernetes_quantity_is_read_as_a_number(text: str | int | float, number: float) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", NO_QUANTITIES)
def test_what_is_not_a_quantity_says_what_is_allowed(text: str | int | float) -> None:
    with pytest.raises(ValueError, match="a Kubernetes quantity: 2, 500m"):
        parse_quantity(text)


@given(st.floats(0.001, 1e6))
def test_printed_cores_are_never_less_than_asked_and_at_most_a_millicore_more(cores: float) -> None:
    printed = parse_quantity(format_cpu(cores))
    assert cores <= printed * (1 + 1e-15)
    assert printed < cores + 0.001 * (1 + 1e-9)


@given(st.floats(1, 1e15))
def test_printed_mebibytes_are_never_less_than_asked_and_at_most_one_more(size_bytes: float) -> None:
    printed = parse_quantity(format_mebibytes(size_bytes))
    assert size_bytes <= printed < size_bytes + 2**20


@pytest.mark.parametrize(
    ("cores", "text"), [(2.0, "2"), (1.5, "1500m"), (0.25, "250m"), (0.0001, "1m"), (2.3, "2300m")]
)
def test_cores_are_printed_as_kubernetes_writes_them(cores: float, text: str) -> None:
    assert format_cpu(cores) == text
