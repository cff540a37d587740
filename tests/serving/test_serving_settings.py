from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.errors import InputError
from kserve_ext.serving.__main__ import main
from kserve_ext.serving.metrics import add
from kserve_ext.serving.predictor import find_predictor
from kserve_ext.serving.settings import FIELDS, VARIABLES, Execution, Settings, describe
from kserve_ext.serving.shared_tallies import read, write
from kserve_ext.serving.tally import Tally


def test_the_plans_numbers_come_from_the_environment() -> None:
    environment = {
        "KSERVE_EXT_MAX_BATCH_SIZE": "16",
        "KSERVE_EXT_MAX_QUEUE_DELAY": "500us",
        "KSERVE_EXT_EXECUTION": "process",
        "KSERVE_EXT_MAX_REQUEST": "1Mi",
        "KSERVE_EXT_TIMEOUT": "",
    }
    expected = Settings(
        max_batch_size=16, max_queue_delay_s=0.0005, execution=Execution.PROCESS, max_request_bytes=2**20
    )
    assert Settings.read(environment) == expected


def test_every_wrong_variable_is_named_with_what_is_allowed() -> None:
    with pytest.raises(InputError) as caught:
        Settings.read({"KSERVE_EXT_INSTANCES": "0", "KSERVE_EXT_EXECUTION": "gpu", "KSERVE_EXT_TIMEOUT": "5"})
    text = str(caught.value)
    assert "KSERVE_EXT_INSTANCES: cannot be read; found 0" in text
    assert "allowed: auto, inline, thread, process" in text
    assert "KSERVE_EXT_TIMEOUT" in text


@given(st.integers(0, 64), st.sampled_from([0.0, 0.0005, 2.0]), st.sampled_from(list(Execution)), st.booleans())
def test_settings_survive_the_environment(batch: int, delay_s: float, execution: Execution, log: bool) -> None:
    settings = Settings(max_batch_size=batch, max_queue_delay_s=delay_s, execution=execution, request_log=log)
    assert Settings.read(settings.write()) == settings


def test_every_setting_has_a_variable_and_is_described() -> None:
    assert {variable.field for variable in VARIABLES} == FIELDS
    assert all(variable.name in describe() for variable in VARIABLES)


def test_the_limit_follows_from_batch_and_instances_where_no_plan_gives_one() -> None:
    assert Settings(max_batch_size=8, instances=2).limit == 64
    assert replace(Settings(), concurrency_limit=5).limit == 5


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("digits", "allowed: module:Class"),
        ("no_such_module:A", "cannot be imported"),
        ("serving.sample_predictors:ROW", "not a Predictor; found int; allowed: Doubler, "),
        ("serving.sample_predictors:Nobody", "found nothing"),
    ],
)
def test_a_predictor_that_is_not_there_is_explained(target: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_predictor(target)


def test_a_folder_that_is_not_there_ends_with_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["serving.sample_predictors:Doubler", "--model_dir", str(tmp_path / "none")]) == 2
    assert "--model_dir: no such folder" in capsys.readouterr().err


def test_the_workers_sums_are_added_up(tmp_path: Path) -> None:
    one, two = Tally(succeeded=2, request_s=0.5, last_ms=7), Tally(succeeded=3, last_ms=5)
    one.ran(rows=2, took_s=0.1, calls=1)
    two.ran(rows=2, took_s=0.2, calls=3)
    write(tmp_path, "0", {("m", "1"): one})
    write(tmp_path, "1", {("m", "1"): two})
    (total,) = read(tmp_path).values()
    assert total == add([one, two])
    assert (total.succeeded, total.last_ms, total.executions, total.batches[2][0]) == (5, 7, 4, 4)
