from __future__ import annotations

from pathlib import Path

import pytest

from kserve_ext.bench.journal import FILE_NAME, Journal
from kserve_ext.errors import KserveExtError

SUBJECT = {"digest": "abc", "host": {"cores": "2"}}


def test_finished_values_are_there_after_an_interruption(tmp_path: Path) -> None:
    first = Journal(tmp_path / "new", SUBJECT)
    first.put("a", {"x": 1.5})
    first.put("b", [1, 2])
    again = Journal(tmp_path / "new", SUBJECT)
    assert ("a" in again, "b" in again, "c" in again) == (True, True, False)
    assert (again["a"], again["b"]) == ({"x": 1.5}, [1, 2])


def test_a_line_cut_short_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    Journal(tmp_path, SUBJECT).put("a", 1)
    with (tmp_path / FILE_NAME).open("a") as stream:
        stream.write('{"key": "b", "val')
    again = Journal(tmp_path, SUBJECT)
    assert "b" not in again
    again.put("c", 3)
    last = Journal(tmp_path, SUBJECT)
    assert (last["a"], last["c"]) == (1, 3)


@pytest.mark.parametrize(
    "content", ["", "not json\n", '{"subject": {"digest": "other"}}\n{"key": "a", "value": 1}\n', "[]\n"]
)
def test_a_journal_of_something_else_is_started_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    journal = Journal(tmp_path, SUBJECT)
    assert "a" not in journal
    journal.put("b", 2)
    again = Journal(tmp_path, SUBJECT)
    assert "a" not in again
    assert again["b"] == 2


def test_a_closed_journal_is_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SUBJECT)
    journal.put("a", 1)
    journal.close()
    assert "a" not in Journal(tmp_path, SUBJECT)


def test_without_a_folder_values_are_kept_in_memory() -> None:
    journal = Journal(None, SUBJECT)
    journal.put("a", 1)
    assert journal["a"] == 1
    journal.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KserveExtError, match="cannot be written"):
        Journal(tmp_path / "file", SUBJECT)
