"""`kserve-ext traffic`: its forms, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kserve_ext.traffic import Traffic, analyse, read_trace

AZURE, HOUR = (f"benchmarks/data/{name}.csv" for name in ("azure_functions_2019_days_1_7", "autothrottle_1h"))
FEW = "t_s,a\n" + "".join(f"{60 * step},{5 + step % 3}\n" for step in range(30))


def test_the_table_shows_the_load_its_measures_and_what_follows(kserve_ext, root: Path) -> None:
    done = kserve_ext("traffic", AZURE, "--service", "dense_a", cwd=root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "dense_a: Comes back every day" in done.stdout
    assert "▁" in done.stdout
    for word in (
        "level",
        "seasons",
        "trend",
        "burstiness",
        "spikes",
        "idle",
        "mode",
        "scaler",
        "window",
        "floor",
        "note",
    ):
        assert word in done.stdout


def test_json_is_the_whole_analysis(kserve_ext, root: Path) -> None:
    done = kserve_ext("traffic", HOUR, "--service", "noisy", "--cold-start", "2m", "-o", "json", cwd=root)
    shown = json.loads(done.stdout)
    assert set(shown) == set(Traffic.__dataclass_fields__)
    known = analyse(read_trace((root / HOUR).read_text(), HOUR, "noisy"), start_up_s=120.0)
    assert (shown["start_up_s"], shown["requests"]) == (120.0, known.requests)
    assert shown["advice"]["window_s"] == 240.0
    assert all(reason["text"] and reason["code"] for reason in shown["advice"]["reasons"])


def test_without_a_service_every_column_is_told(kserve_ext, root: Path) -> None:
    loads = json.loads(kserve_ext("traffic", HOUR, "-o", "json", cwd=root).stdout)
    assert [load["service"] for load in loads] == ["diurnal", "diurnal_2", "noisy", "bursty"]


def test_yaml_says_the_same_as_json(kserve_ext) -> None:
    as_json = kserve_ext("traffic", "-", "-o", "json", stdin=FEW).stdout
    assert yaml.safe_load(kserve_ext("traffic", "-", "-o", "yaml", stdin=FEW).stdout) == json.loads(as_json)


def test_a_picture_goes_to_a_file_or_to_standard_output(kserve_ext, tmp_path: Path) -> None:
    done = kserve_ext("traffic", "-", "-o", "html", "--out", "pictures/load.html", stdin=FEW)
    assert (done.returncode, done.stdout) == (0, "")
    text = (tmp_path / "pictures/load.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert kserve_ext("traffic", "-", "-o", "html", stdin=FEW).stdout == text


@pytest.mark.parametrize(
    ("options", "text", "named"),
    [
        ([], "", ["no trace"]),
        ([], FEW.replace("60,6", "60,-6"), ["-:3: a: negative count"]),
        (["--service", "b"], FEW, ["no such column", "a"]),
        (["--cold-start", "soon"], FEW, ["--cold-start", "soon", "80ms"]),
        (["--cold-start", "1h"], FEW, ["too short", "30 min", "2 start-ups of 1 h"]),
    ],
)
def test_bad_input_is_named(kserve_ext, options: list[str], text: str, named: list[str]) -> None:
    done = kserve_ext("traffic", "-", *options, stdin=text)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(word in done.stderr for word in named), done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_named(kserve_ext) -> None:
    done = kserve_ext("traffic", "nowhere.csv")
    assert (done.returncode, "nowhere.csv" in done.stderr) == (2, True)


def test_help_has_an_example_and_imports_nothing_heavy(kserve_ext) -> None:
    assert "kserve-ext traffic" in kserve_ext("traffic", "--help").stdout.split("Example:")[1]
    code = (
        "import sys; sys.argv = ['kserve-ext', 'traffic', '--help']\n"
        "from kserve_ext.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    sys.exit(len({'numpy', 'yaml', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
