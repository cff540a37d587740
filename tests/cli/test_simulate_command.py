"""simulate, whatif and demo at the command line: figures, files, exit codes, and bad input by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kserve_ext.cli.app import main

LAW = '{"service_time": {"distribution": "lognormal", "loc": 0.08, "scale": 0.07, "shape": 0.42}}'
POINTS = '{"service_time": [{"batch": 1, "mean_s": 0.02}, {"batch": 8, "mean_s": 0.05}], "load_s": 12.0}'
FIGURES = {
    "attainment", "billed", "active", "starts", "p50_s", "p95_s", "p99_s", "worst_minute", "violation_share", "regret",
    "run_s",
}  # fmt: skip
LAW_OPTIONS = ("--profile", "law.json", "--slo-p99", "720ms", "--cold-start", "35s", "-q")
FEW = ("--policy", "ours,kpa-cc1,oracle")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with traces and service times."""
    rising = "".join(f"{10 * index},{20 + 2 * index},{30}\n" for index in range(40))
    files = {
        "two.csv": f"t_s,web,batch\n{rising}", "law.json": LAW, "points.json": POINTS,
        "web.csv": "t_s,web\n" + "".join(f"{10 * index},{20 + index}\n" for index in range(60)),
        "short.csv": "t_s,web\n0,1\n10,1\n", "gap.csv": "t_s,web\n0,1\n10,1\n30,1\n", "minus.csv": "t_s,web\n0,1\n10,-1\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_policy_has_its_figures_and_the_ladder_its_rungs(kserve_ext, folder: Path) -> None:
    done = kserve_ext("simulate", "--trace", "two.csv", "--service", "web", *LAW_OPTIONS, "-o", "json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert len(record["policies"]) == 10
    assert all(set(figures) >= FIGURES for figures in record["policies"].values())
    rungs = [rung["billed"] for rung in record["ladder"].values()]
    assert rungs[:3] == sorted(rungs[:3])
    assert record["trace"]["requests"] == sum(20 + 2 * index for index in range(40))


def test_columns_are_simulated_one_by_one(kserve_ext, folder: Path) -> None:
    done = kserve_ext("simulate", "--trace", "two.csv", *LAW_OPTIONS, *FEW, "-o", "json")
    assert [record["service"] for record in json.loads(done.stdout)] == ["web", "batch"]


def test_yaml_says_the_same_as_json_but_for_run_times(kserve_ext, folder: Path) -> None:
    def figures(form: str) -> object:
        text = kserve_ext("simulate", "--trace", "web.csv", *LAW_OPTIONS, *FEW, "-o", form).stdout
        record = yaml.safe_load(text)
        for policy in record["policies"].values():
            del policy["run_s"]
        return record

    assert figures("yaml") == figures("json")


def test_the_page_and_the_figures_go_to_files(kserve_ext, folder: Path) -> None:
    out = ("-o", "json", "--out", "out/figures.json", "--compare", "out/page.html")
    done = kserve_ext("simulate", "--trace", "web.csv", *LAW_OPTIONS, *FEW, *out)
    assert (done.returncode, done.stdout) == (0, "")
    assert "ours" in json.loads((folder / "out/figures.json").read_text())["policies"]
    assert (folder / "out/page.html").read_text().startswith("<!DOCTYPE html>")


def test_what_was_before_is_learned_from_and_not_simulated(kserve_ext, folder: Path) -> None:
    run = ("simulate", "--trace", "web.csv", *LAW_OPTIONS, "--policy", "ours", "-o", "json")
    split = json.loads(kserve_ext(*run, "--learn-until", "5m").stdout)
    apart = json.loads(kserve_ext(*run, "--history", "two.csv").stdout)
    assert (split["trace"]["duration_s"], split["trace"]["learned_s"], split["trace"]["start_s"]) == (300, 300, 300)
    assert (apart["trace"]["duration_s"], apart["trace"]["learned_s"]) == (600, 400)


def test_points_by_batch_are_planned_and_simulated(kserve_ext, folder: Path) -> None:
    run = ("simulate", "--trace", "web.csv", "--profile", "points.json", "--slo-p99", "200ms", "-q", *FEW, "-o", "json")
    record = json.loads(kserve_ext(*run).stdout)
    assert record["plan"]["stages"][0]["max_batch_size"] in (1, 8)
    assert record["cold_start_s"] == 17.0


def test_a_manifest_brings_its_slo_its_plan_and_its_measured_profile(kserve_ext, folder: Path, emulated: str) -> None:
    done = kserve_ext("simulate", "--trace", "web.csv", "--manifest", emulated, "-q", *FEW, "-o", "json")
    record = json.loads(done.stdout)
    plan = json.loads(kserve_ext("plan", emulated, "-o", "json").stdout)
    assert record["slo_p99_s"] == 0.06
    assert record["plan"]["scaling"] == plan["scaling"]
    assert record["max_replicas"] == plan["scaling"]["max_replicas"]


def test_progress_goes_to_standard_error(kserve_ext, folder: Path) -> None:
    done = kserve_ext("simulate", "--trace", "web.csv", *LAW_OPTIONS[:-1], *FEW)
    assert "web: ours" in done.stderr
    assert "web: 2,970 requests in 10 min" in done.stdout
    assert "keeps 99" in done.stdout


def test_a_knob_says_where_the_slo_is_first_lost(kserve_ext, folder: Path) -> None:
    knob = ("--vary", "rate=0.5,4,8", "--max-replicas", "2")
    done = kserve_ext("whatif", "--trace", "web.csv", *LAW_OPTIONS, *knob, "-o", "json")
    record = json.loads(done.stdout)
    assert [value["holds"] for value in record["values"]] == [True, False, False]
    assert (record["first_lost"], record["values"][1]["cause"]) == ("4", "at the most replicas")


def test_a_knob_is_shown_as_a_table_and_as_a_page(kserve_ext, folder: Path) -> None:
    run = ("whatif", "--trace", "web.csv", *LAW_OPTIONS, "--vary", "cold-start=10s,2m")
    assert "cold-start" in kserve_ext(*run).stdout
    assert kserve_ext(*run, "-o", "html").stdout.startswith("<!DOCTYPE html>")


BAD = {
    "no trace": (["--trace", "gone.csv"], 2, ["gone.csv"]),
    "no such column": (["--service", "wep"], 2, ["wep", "web"]),
    "a gap": (["--trace", "gap.csv"], 2, ["gap.csv:4", "t_s"]),
    "a negative count": (["--trace", "minus.csv"], 2, ["minus.csv:3", "-1"]),
    "over before the start-up": (["--trace", "short.csv"], 2, ["20 s", "35s"]),
    "no such policy": (["--policy", "hpa-cpu-70"], 2, ["hpa-cpu-70", "did you mean hpa-cpu-"]),
    "all in time": (["--attainment", "100%"], 2, ["100%"]),
    "attainment in words": (["--attainment", "most"], 2, ["--attainment", "most"]),
    "min above max": (["--min-replicas", "5", "--max-replicas", "2"], 2, ["max_replicas", ">= 5"]),
    "SLO below the service time": (["--slo-p99", "50ms"], 3, ["50ms", "266ms"]),
    "SLO in words": (["--slo-p99", "fast"], 2, ["--slo-p99", "fast"]),
    "no profile": (["--profile", "gone.json"], 2, ["gone.json"]),
    "a trace as a profile": (["--profile", "web.csv"], 2, ["web.csv:1", "not JSON"]),
    "nothing left after learning": (["--learn-until", "10m"], 2, ["--learn-until", "600"]),
    "learning twice": (["--learn-until", "5m", "--history", "two.csv"], 2, ["--history, --learn-until"]),
}


@pytest.mark.parametrize(("options", "code", "named"), BAD.values(), ids=BAD)
def test_bad_input_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], code: int, named: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    monkeypatch.setattr(
        "sys.argv", ["kserve-ext", "simulate", "--trace", "web.csv", *LAW_OPTIONS, "--policy", "ours", *options]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (code, ""), shown.err
    assert all(word in shown.err for word in named), shown.err


def test_a_simulation_without_a_profile_says_what_is_missing(kserve_ext, folder: Path) -> None:
    done = kserve_ext("simulate", "--trace", "web.csv")
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("--profile", "--slo-p99", "--manifest"))


def test_a_profile_that_does_not_cover_the_batch_is_refused(kserve_ext, folder: Path) -> None:
    options = ("--profile", "points.json", "--slo-p99", "200ms", "-q", "--vary", "max-batch=8,64")
    done = kserve_ext("whatif", "--trace", "web.csv", *options)
    assert (done.returncode, "1 to 8" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", ["simulate", "whatif", "demo"])
def test_help_has_an_example(kserve_ext, command: str) -> None:
    done = kserve_ext(command, "--help")
    assert done.returncode == 0
    assert f"kserve-ext {command}" in done.stdout.split("Example:")[1]
