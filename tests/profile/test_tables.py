from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Profile
from kserve_ext.errors import ProfileError
from kserve_ext.profile import store
from kserve_ext.profile.fit import fit
from kserve_ext.profile.tables import import_csv


def imported(text: str) -> Profile:
    return import_csv(text, "t.csv", model="resnet", hardware="a100", overhead_s=0.001, load_s=3.0)


def refusal(text: str) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        imported(text)
    return str(caught.value).splitlines()


def test_a_table_with_all_columns_becomes_a_profile() -> None:
    read = imported(
        "batch,instances,latency_ms,p50_ms,p90_ms,p99_ms,count,memory_bytes\n"
        "2,1,6,5.5,7,9,200,3e9\n"
        "1,1,4,4,4.5,5,400,2e9\n"
        "1,2,5,,,8,100,\n"
        "2,2,8,,,,,\n"
    )
    (stage,) = read.stages
    assert [(point.instances, point.batch, point.count, point.mean_s) for point in stage.points] == [
        (1, 1, 400, 0.004), (1, 2, 200, 0.006), (2, 1, 100, 0.005), (2, 2, 1, 0.008),
    ]  # fmt: skip
    assert stage.points[0].quantiles_s.probabilities == (0.5, 0.9, 0.99)
    assert stage.points[0].quantiles_s.values == pytest.approx((0.004, 0.0045, 0.005))
    assert stage.points[2].quantiles_s.probabilities == (0.99,)
    assert stage.points[3].quantiles_s.values == pytest.approx((0.008,))
    assert (stage.max_batch, stage.memory_peak_bytes) == (2, 3e9)
    assert (read.model, read.hardware, read.load_s, read.overhead_s.values) == ("resnet", "a100", 3.0, (0.001,))
    assert dict(read.host) == {"source": "t.csv"}


@pytest.mark.parametrize(
    "text",
    [
        "batch,latency_s\n1,0.004\n8,0.010\n",
        "latency_us,batch\n4000,1\n10000,8\n",
        "batch, latency_ms\n1, 4\n8, 10\n",
        "\ufeffbatch,latency_ms\r\n1,4\r\n\r\n8,10\r\n",
        '"batch","latency_ms"\r8,10\r1,4',
    ],
    ids=["seconds", "microseconds", "spaces", "from a spreadsheet", "quoted, old line ends, no last one"],
)
def test_the_usual_ways_to_write_the_same_table_give_the_same_curve(text: str) -> None:
    (curve,) = fit(imported(text).stages[0])
    assert curve.batches == (1, 8)
    assert curve.means_s == pytest.approx((0.004, 0.010))


@given(st.dictionaries(st.integers(1, 512), st.floats(1e-3, 1e6), min_size=1))
def test_an_imported_profile_can_be_stored_and_read(latency_us: dict[int, float]) -> None:
    rows = "".join(f"{batch},{value!r}\n" for batch, value in latency_us.items())
    read = imported("batch,latency_us\n" + rows)
    assert store.load(store.dump(read), "p.json", model="resnet") == read


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("", "t.csv:1: the columns do not say batch and latency; allowed: batch and one of latency_s"),
        ("batch,time_ms", "the columns do not say batch and latency; found batch, time_ms; allowed"),
        ("latency_ms", "the columns do not say batch and latency; found latency_ms; allowed"),
        ("batch,latency_s,latency_ms", "the columns do not say batch and latency; found batch, latency_s, latency_ms"),
        ("batch,latency_ms,concurrency", "t.csv:1: unknown column; found concurrency; allowed: batch, count, instances"),
        ("batch,latency_ms,p99_us,p95_ms", "unknown column; found p99_us, p95_ms; allowed: batch, count"),
        ("batch,latency_ms,", "t.csv:1: unknown column; found one without a name; allowed"),
    ],
)  # fmt: skip
def test_columns_that_are_not_known_are_refused_by_name(header: str, says: str) -> None:
    (line,) = refusal(header + "\n1,2,3,4\n")
    assert says in line


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("0,4,1", "batch: a whole number of at least 1 is needed, found '0'"),
        ("1.5,4,1", "batch: a whole number of at least 1 is needed, found '1.5'"),
        ("-1,4,1", "batch: a whole number of at least 1 is needed, found '-1'"),
        (",4,1", "batch: a whole number of at least 1 is needed, found ''"),
        ("2,4,two", "instances: a whole number of at least 1 is needed, found 'two'"),
        ("2,fast,1", "latency_ms: a number above zero is needed, found 'fast'"),
        ("2,0,1", "latency_ms: a number above zero is needed, found '0'"),
        ("2,-4,1", "latency_ms: a number above zero is needed, found '-4'"),
        ("2,nan,1", "latency_ms: a number above zero is needed, found 'nan'"),
        ("2,inf,1", "latency_ms: a number above zero is needed, found 'inf'"),
        ("2", "latency_ms: a number above zero is needed, found ''"),
        ("2,4,1,,,lots", "memory_bytes: a number above zero is needed, found 'lots'"),
        ("2,4,1,,,1e9,17,18", "more cells than columns: 17, 18"),
        ("2,4,1,9,5,", "quantiles must not fall: p50 <= p90 <= p99"),
        ("1,9,1", "batch 1 with 1 instances stands in the table twice"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_what_was_found(row: str, says: str) -> None:
    table = "batch,latency_ms,instances,p50_ms,p99_ms,memory_bytes\n1,3,1,,,\n\n"
    assert refusal(table + row + "\n") == [f"t.csv:4: {says}"]


def test_every_bad_row_is_told() -> None:
    assert [line.split(":")[1] for line in refusal("batch,latency_ms\nx,1\n1,2\n2,y\n")] == ["2", "4"]


def test_a_table_without_rows_is_refused() -> None:
    assert refusal("batch,latency_ms\n") == ["t.csv: no rows; allowed: a header line and at least one row"]


def test_a_cell_too_large_for_csv_is_refused_with_its_line() -> None:
    (line,) = refusal("batch,latency_ms\n1,2\n1," + "9" * 200_000)
    assert line.startswith("t.csv:3: not CSV: field larger than field limit")


def test_throughput_sets_the_mean_because_it_says_how_long_an_instance_is_taken() -> None:
    text = "batch,latency_ms,instances,throughput_rps\n8,20,2,1000\n"
    profile = import_csv(text, "t.csv", model="m", hardware="a100", overhead_s=0.001, load_s=3.0)
    assert profile.stages[0].points[0].mean_s == pytest.approx(2 * 8 / 1000)
