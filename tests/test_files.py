"""Real conditions, in processes of their own: a file size limit, a kill, a lock held elsewhere."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kserve_ext.errors import BusyError, InputError, KserveExtError
from kserve_ext.files import copy, exclusive, read_text, write_bytes, write_text

OLD, NEW = "old\n", "new\n" * 100_000


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read_back_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    write_text(path, "é\n")
    assert read_text(path) == "é\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == ["a.txt"]


def test_a_second_write_replaces_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"a long first content")
    write_bytes(path, b"\0")
    assert path.read_bytes() == b"\0"


def test_a_disk_that_fills_up_midway_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, OLD)
    says = r"a\.txt: cannot be written: File too large; the old file is intact"
    with files_up_to(4096), pytest.raises(KserveExtError, match=says):
        write_text(path, NEW)
    assert path.read_text() == OLD
    assert names(tmp_path) == ["a.txt"]


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from kserve_ext.files import write_text
path, contents = Path(sys.argv[1]), ("a" * 300_000, "b" * 300_000)
for turn in range(10**9):
    write_text(path, contents[turn % 2])
    print(turn, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "a.txt"
    with python(
        WRITE_FOR_EVER.replace("import sys", "import sys; sys.stderr = open('/dev/null', 'w')"), path
    ) as writer:
        assert writer.stdout is not None
        for _ in range(3):
            writer.stdout.readline()
        writer.send_signal(how)
    assert path.read_text() in {"a" * 300_000, "b" * 300_000}


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    write_text(tmp_path / "a.txt", OLD)
    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", NEW)
    assert read_text(tmp_path / "a.txt") == OLD
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_in_the_place_of_the_file_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(KserveExtError, match="Is a directory"):
        write_text(tmp_path / "a.txt", NEW)
    assert names(tmp_path) == ["a.txt"]


def test_a_file_in_the_place_of_the_folder_is_an_error_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.write_text(OLD)
    with pytest.raises(KserveExtError, match=r"out/a\.txt: cannot be written: "):
        write_text(folder / "a.txt", NEW)
    with pytest.raises(KserveExtError, match="out: cannot be written: "), exclusive(folder):
        pass
    assert folder.read_text() == OLD


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"\x08\x0bonnx\xff"), "not a text file; found byte 0xff at position 6"),
    ],
    ids=["missing", "a folder", "not text"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, prepare: Callable[[Path], object], says: str) -> None:
    prepare(tmp_path / "a.yaml")
    with pytest.raises(InputError) as caught:
        read_text(tmp_path / "a.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'a.yaml'}: ")
    assert says in str(caught.value)


HOLD = """
import sys
from pathlib import Path
from kserve_ext.files import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["it ends", "it is killed"])
def test_a_folder_held_by_another_process_is_busy_until_that_process_is_gone(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "out"
    with python(HOLD, folder) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=f"another run is writing to {folder}") as caught, exclusive(folder):
            pass
        assert "--out" in caught.value.remedy
        if how == "it is killed":
            holder.kill()
        holder.communicate()
    with exclusive(folder):
        assert folder.is_dir()


def test_a_folder_is_free_again_after_a_run_that_failed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the run itself"), exclusive(tmp_path):
        raise OSError("of the run itself")
    with exclusive(tmp_path):
        pass


def test_two_folders_do_not_hinder_each_other(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a"), exclusive(tmp_path / "b"):
        assert names(tmp_path) == ["a", "b"]


def test_a_copied_folder_replaces_the_one_that_is_there(tmp_path: Path) -> None:
    write_text(tmp_path / "from" / "1" / "model.py", "new")
    write_text(tmp_path / "to" / "stale.txt", "old")
    copy(tmp_path / "from", tmp_path / "to")
    assert names(tmp_path) == ["from", "to"]
    assert names(tmp_path / "to") == ["1"]
    assert read_text(tmp_path / "to" / "1" / "model.py") == "new"


def test_a_copied_file_replaces_the_one_that_is_there(tmp_path: Path) -> None:
    write_text(tmp_path / "from", "new")
    write_text(tmp_path / "to", "old")
    copy(tmp_path / "from", tmp_path / "to")
    assert read_text(tmp_path / "to") == "new"


def test_a_copy_that_fails_says_why_and_leaves_what_is_there(tmp_path: Path) -> None:
    write_text(tmp_path / "to" / "kept.txt", "old")
    with pytest.raises(KserveExtError, match="No such file or directory"):
        copy(tmp_path / "missing", tmp_path / "to")
    write_text(tmp_path / "file", "new")
    with pytest.raises(KserveExtError, match="cannot be copied to"):
        copy(tmp_path / "file", tmp_path / "to")
    assert names(tmp_path / "to") == ["kept.txt"]
