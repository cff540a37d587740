"""A trace file: what is read, and how every fault in it is named."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.errors import InputError
from kserve_ext.simulate.arrivals import Counts, per_second
from kserve_ext.traffic import Trace, read_trace, read_traces

TWO = "t_s,search,rank\n0,1,5\n60,2,6\n120,3,7\n"


def refused(text: str, service: str | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        read_trace(text, "load.csv", service)
    return caught.value


def test_a_column_becomes_counts_with_their_step() -> None:
    read = read_trace(TWO, "load.csv", "rank")
    assert read == Trace(service="rank", start_s=0, step_s=60, counts=(5, 6, 7))
    assert read.duration_s == 180


def test_the_only_column_needs_no_name_and_all_columns_come_in_order() -> None:
    assert read_trace("t_s,a\n5,1\n6,2\n", "load.csv").start_s == 5
    assert [trace.service for trace in read_traces(TWO, "load.csv")] == ["search", "rank"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + TWO,
        TWO.replace("\n", "\r\n"),
        TWO.replace("\n", "\r"),
        TWO.replace(",", " , "),
        TWO.replace("\n", "\n\n") + "\n\n",
        TWO.replace("2,6", '"2","6.0"'),
        TWO.rstrip("\n"),
    ],
    ids=["BOM", "CRLF", "CR", "blanks", "empty lines", "quotes and whole floats", "no last newline"],
)
def test_what_spreadsheets_write_is_read_as_well(text: str) -> None:
    assert read_traces(text, "load.csv") == read_traces(TWO, "load.csv")


def test_no_traffic_is_a_trace_too() -> None:
    assert read_trace("t_s,a\n0,0\n60,0\n", "load.csv").counts == (0, 0)


FAULTS = {
    "empty": ("", ["load.csv: no trace"]),
    "only a header": ("t_s,a\n", ["too short", "0 below the header", "2 rows or more"]),
    "one row": ("t_s,a\n0,1\n", ["too short", "1 below the header"]),
    "no header": ("0,1\n60,2\n120,3\n", ["load.csv:1: not a header", "0,1", "t_s,<service>"]),
    "other separator": ("t_s;a\n0;1\n60;2\n", ["load.csv:1: not a header", "t_s;a"]),
    "no service": ("t_s\n0\n60\n", ["load.csv:1: not a header"]),
    "column named twice": ("t_s,a,a\n0,1,1\n1,2,2\n", ["load.csv:1: column named twice", "'a'"]),
    "column without a name": ("t_s,a,\n0,1,1\n1,2,2\n", ["load.csv:1: column without a name"]),
    "negative": ("t_s,a\n0,1\n60,-2\n", ["load.csv:3: a: negative count; found '-2'"]),
    "fraction": ("t_s,a\n0,1\n60,2.5\n", ["load.csv:3: a: not a whole number; found '2.5'"]),
    "words": ("t_s,a\n0,many\n60,2\n", ["load.csv:2: a: not a plain number; found 'many'"]),
    "NaN": ("t_s,a\n0,1\n60,nan\n", ["load.csv:3: a: not a plain number; found 'nan'"]),
    "infinite": ("t_s,a\n0,1\n60,inf\n", ["load.csv:3: a: not a plain number"]),
    "underscore": ("t_s,a\n0,1\n60,1_0\n", ["load.csv:3: a: not a plain number; found '1_0'"]),
    "beyond counting": ("t_s,a\n0,1\n60,9999999999999\n", ["load.csv:3: a: not a plain number"]),
    "nothing": ("t_s,a,b\n0,1,1\n60,,2\n", ["load.csv:3: a: no number"]),
    "cell missing": ("t_s,a,b\n0,1,1\n60,2\n", ["load.csv:3: wrong number of cells; found 2; allowed: 3"]),
    "time in words": ("t_s,a\n0,1\nnoon,2\n", ["load.csv:3: t_s: not a plain number; found 'noon'; allowed: whole seconds"]),
    "time in parts": ("t_s,a\n0,1\n0.5,2\n", ["load.csv:3: t_s: not a whole number; found '0.5'"]),
    "gap": ("t_s,a\n0,1\n60,2\n180,3\n240,4\n", ["load.csv:4: t_s: gap of 1 row; found 180 after 60; allowed: 120"]),
    "gap at the start": ("t_s,a\n0,1\n300,2\n360,3\n420,4\n", ["load.csv:3: t_s: gap of 4 rows", "allowed: 60"]),
    "uneven": ("t_s,a\n0,1\n60,2\n130,3\n190,4\n", ["load.csv:4: t_s: uneven step; found 130 after 60"]),
    "unsorted": ("t_s,a\n0,1\n120,2\n60,3\n", ["load.csv:4: t_s: unsorted time; found 60 after 120"]),
    "twice": ("t_s,a\n0,1\n60,2\n60,3\n", ["load.csv:4: t_s: the same time twice"]),
    "endless cell": ("t_s,a\n0," + "1" * 140_000 + "\n60,2\n", ["load.csv:2: not CSV"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "named"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line_and_column(text: str, named: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_traces(text, "load.csv")
    assert all(part in caught.value.message for part in named), caught.value.message


def test_several_services_need_a_name_and_a_wrong_one_gets_the_nearest() -> None:
    assert "search, rank" in refused(TWO).message
    wrong = refused(TWO, "serach")
    assert ("serach" in wrong.message, wrong.remedy) == (True, "did you mean search?")
    assert refused(TWO, "t_s").remedy == "name one of the columns"


def test_a_fault_in_another_column_does_not_matter_to_the_one_asked_for() -> None:
    assert read_trace(TWO.replace("60,2", "60,x"), "load.csv", "rank").counts == (5, 6, 7)


def test_a_file_full_of_faults_lists_the_first_and_counts_the_rest() -> None:
    text = "t_s,a\n" + "".join(f"{second},x\n" for second in range(100))
    problems = refused(text).problems
    assert (len(problems), problems[0].line, str(problems[-1])) == (21, 2, "load.csv: and 80 more faults")


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=50), st.integers(1, 3600), st.integers(-(10**6), 10**9))
def test_what_is_written_is_read_back(counts: list[int], step_s: int, start_s: int) -> None:
    rows = "".join(f"{start_s + place * step_s},{count}\n" for place, count in enumerate(counts))
    read = read_trace("t_s,a\n" + rows, "load.csv")
    assert read == Trace(service="a", start_s=start_s, step_s=step_s, counts=tuple(counts))


@given(st.text(alphabet='t_s,a0123456789.-+\n\r"\ufeff eE\x00', max_size=60))
def test_any_text_is_counts_or_is_refused(text: str) -> None:
    for start in ("", "t_s,a\n0,1\n"):
        with contextlib.suppress(InputError):
            assert all(trace.step_s > 0 and min(trace.counts) >= 0 for trace in read_traces(start + text, "load.csv"))


def test_the_counts_are_what_the_simulator_takes() -> None:
    read = read_trace("t_s,a\n0,3\n1,0\n2,4\n", "load.csv")
    arrivals = Counts(counts=read.counts, step_s=read.step_s)
    assert per_second(arrivals, seed=0).tolist() == [3, 0, 4]
