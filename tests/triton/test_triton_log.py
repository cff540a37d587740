"""Reading Triton's log: which lines are errors, and which reason they give."""

from __future__ import annotations

from pathlib import Path

import pytest

from kserve_ext.triton import log

PREFIX = "1122 10:03:46.853846 10108 model_lifecycle.cc:642] "
START = f"""I{PREFIX}"fine"
W{PREFIX}"careful"
E{PREFIX}"CudaDriverHelper has not been initialized."
Error: Failed to initialize NVML
+----+----+
| a  | b  |
+----+----+
"""


def error(text: str) -> str:
    return f'E{PREFIX}"{text}"\n'


def test_a_start_without_a_gpu_has_no_errors() -> None:
    assert log.errors(START) == ()


def test_error_lines_come_without_prefix_and_each_once() -> None:
    found = log.errors(START + error("first") + error("second") + error("first"))
    assert found == ("first", "second")


@pytest.mark.parametrize(
    "line",
    [
        "error: creating server: Internal - failed to load all models",
        "tritonserver: error while loading shared libraries: libb64.so.0d: cannot open shared object file",
        "Signal (11) received.",
    ],
)
def test_a_line_of_the_program_itself_counts_when_it_tells_why_it_ended(line: str) -> None:
    assert log.errors(f"{START}{line}\n") == (line,)


@pytest.mark.parametrize("line", ["Signal (15) received.", "Signal (2) received.", "my error rate is 0"])
def test_a_line_that_reports_no_fault_is_not_an_error(line: str) -> None:
    assert log.errors(f"{START}{line}\n") == ()


REASONS = {
    "the field is named where the words do not": (
        "Poll failed for model directory 'm': dynamic batching preferred size must be <= max batch size for m",
        "dynamic_batching.preferred_batch_size: dynamic batching preferred size must be <= max batch size",
    ),
    "an exception keeps its innermost place": (
        r"failed to load 'm' version 1: Internal: KeyError: 'x'\n\nAt:\n  /r/m/1/model.py(2): initialize\n  other\n",
        "KeyError: 'x', at /r/m/1/model.py(2)",
    ),
    "what is said for each row is said once": (
        "failed to load 'm' version 1: Invalid argument: failed to run warmup sample 'w': too big; too big; too big;",
        "model_warmup: failed to run warmup sample 'w': too big",
    ),
    "quotes are read": (r"Poll failed for model directory 'm': no \"x\"", 'no "x"'),
}


@pytest.mark.parametrize(("text", "reason"), REASONS.values(), ids=REASONS.keys())
def test_a_reason_is_cut_down_to_what_helps(text: str, reason: str) -> None:
    assert log.reasons(error(text), "m") == (reason,)


def test_errors_about_another_model_are_left_out_when_there_are_some_about_this_one() -> None:
    text = error("failed to load 'n' version 1: Internal: no") + error("failed to load 'm' version 1: Internal: yes")
    assert log.reasons(text, "m") == ("yes",)
    assert log.reasons(text, "k") == ("no", "yes")


def test_the_tail_has_no_tables() -> None:
    assert log.tail(START + "last\n", 2) == ("Error: Failed to initialize NVML", "last")


def test_a_log_is_read_from_a_position_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"before\nafter \xff\n")
    assert log.read_from(tmp_path / "log", 7) == "after \N{REPLACEMENT CHARACTER}\n"
    assert log.read_from(tmp_path / "none") == ""
