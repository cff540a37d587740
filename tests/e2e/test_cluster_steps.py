"""The steps that build the cluster: kept by what went in, resumed where a killed run stopped, failures told with their log."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from e2e.cluster.settings import Settings, SettingsError, cache_folder, settings
from e2e.cluster.work import Log, StepError, Workshop, digest_of, until

DEAD_PID = 2**22 + 1  # above the largest that Linux gives


def write_greeting(folder: Path, log: Log) -> None:
    log.run("sh", "-c", f"echo hello >{folder}/greeting")


def test_an_artefact_is_made_once_for_the_same_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = Workshop(cache=tmp_path)
    first = shop.artefact("greeting", {"to": "all"}, write_greeting)
    again = shop.artefact("greeting", {"to": "all"}, lambda folder, log: pytest.fail("made again"))
    other = shop.artefact("greeting", {"to": "one"}, write_greeting)
    assert first == again != other
    assert (first / "greeting").read_text() == "hello\n"
    assert [line.split()[:2] for line in capsys.readouterr().err.splitlines()] == [
        ["greeting", "done"], ["greeting", "cached"], ["greeting", "done"],
    ]  # fmt: skip


def test_a_step_that_fails_leaves_nothing_that_passes_for_done_and_tells_the_end_of_its_log(tmp_path: Path) -> None:
    shop = Workshop(cache=tmp_path)
    with pytest.raises(StepError, match=r"(?s)greeting: `sh -c .*` exited with 3.*no such luck"):
        shop.artefact("greeting", 1, lambda folder, log: log.run("sh", "-c", "echo no such luck; exit 3"))
    assert (shop.artefact("greeting", 1, write_greeting) / "greeting").exists()


def test_what_a_killed_run_was_making_goes_and_what_a_living_one_makes_stays(tmp_path: Path) -> None:
    dead, living = (tmp_path / "greeting" / f"0123.making-{pid}" for pid in (DEAD_PID, os.getppid()))
    for folder in (dead, living):
        folder.mkdir(parents=True)
    Workshop(cache=tmp_path).artefact("greeting", 1, write_greeting)
    assert not dead.exists()
    assert living.exists()


def test_what_no_cluster_s_last_run_has_used_goes(tmp_path: Path) -> None:
    def run(cluster: str, *wanted: str) -> list[Path]:
        shop = Workshop(cache=tmp_path)
        made = [shop.artefact("greeting", {"to": each}, write_greeting) for each in wanted]
        shop.forget_older(cluster)
        return made

    (living := tmp_path / "greeting" / f"0123.making-{os.getppid()}").mkdir(parents=True)
    old, kept = run("one", "all", "some")
    (elsewhere,) = run("other", "nobody")
    (new, _) = run("one", "each", "some")
    assert [path.exists() for path in (old, kept, elsewhere, new, living)] == [False, True, True, True, True]


def test_runs_on_one_cache_take_turns(tmp_path: Path) -> None:
    order: list[str] = []
    with Workshop(cache=tmp_path).alone():
        other = threading.Thread(target=lambda: _enter(tmp_path, order))
        other.start()
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def _enter(cache: Path, order: list[str]) -> None:
    with Workshop(cache=cache).alone():
        order.append("second")


def test_once_runs_once(tmp_path: Path) -> None:
    shop, made = Workshop(cache=tmp_path), []
    assert [shop.once("base", lambda: made.append(1) or len(made)) for _ in range(3)] == [1, 1, 1]


def test_a_digest_knows_names_contents_and_whether_a_file_is_a_program(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("x")
    seen = {digest_of(folder)}
    (folder / "a").chmod(0o755)
    seen.add(digest_of(folder))
    (folder / "a").rename(folder / "b")
    seen.add(digest_of(folder))
    (folder / "b").write_text("y")
    seen.add(digest_of(folder))
    assert len(seen) == 4


def test_waiting_ends_and_says_for_what() -> None:
    with pytest.raises(TimeoutError, match="the moon: not within 0 s"):
        until("the moon", lambda: False, seconds=0, every=0)


def test_variables_change_the_settings() -> None:
    given = settings({"KSERVE_VERSION": "v0.19.0", "GPUS": "8", "SET": "full", "CLUSTER_NAME": "mine"})
    assert (given.kserve, given.gpus, given.which, given.name) == ("0.19.0", 8, "full", "mine")
    assert given.kubernetes == Settings().kubernetes


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("GPUS", "many", "GPUS: found 'many', allowed: a whole number, 0 or more"),
        ("SET", "all", "SET: found 'all', allowed: base, full"),
        ("SOURCE", "magic", "SOURCE: found 'magic', allowed: from-source, prebuilt"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_refused(variable: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings({variable: text})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"KSERVE_EXT_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, Path("/c/cluster")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/kserve-ext/cluster")),
        ({}, Path.home() / ".cache/kserve-ext/cluster"),
    ],
)
def test_the_cache_lies_outside_the_checkout(environment: dict[str, str], folder: Path) -> None:
    assert cache_folder(environment) == folder
