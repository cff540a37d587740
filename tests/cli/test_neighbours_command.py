"""Several models in one replica, from the manifest to the rendered bundle; what looks at one model says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

MODEL_FILES = ("config.pbtxt", "profiles/a100-1g.10gb.json")


@pytest.fixture
def repository(tmp_path: Path, root: Path) -> str:
    """`emulated`, and the same model once more as `twin`."""
    for name in ("emulated", "twin"):
        for file in MODEL_FILES:
            text = (root / "model_repo" / "emulated" / file).read_text().replace('"emulated"', f'"{name}"')
            target = tmp_path / "models" / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return str(tmp_path / "models")


@pytest.fixture
def pair(tmp_path: Path, emulated: str) -> str:
    """The manifest of `emulated` with `twin` beside it."""
    text = Path(emulated).read_text()
    marker = "    kserve-ext.dev/hardware:"
    path = tmp_path / "pair.yaml"
    path.write_text(text.replace(marker, f"    kserve-ext.dev/neighbours: twin 200ms 5..60rps\n{marker}"))
    assert "neighbours" in path.read_text()
    return str(path)


def test_a_plan_for_two_models_shows_both(kserve_ext, pair: str, repository: str) -> None:
    done = kserve_ext("plan", pair, "--model-repo", repository)
    assert done.returncode == 0, done.stderr
    assert "rps of twin within 200ms" in done.stdout
    assert "model twin" in done.stdout
    plan = json.loads(kserve_ext("plan", pair, "--model-repo", repository, "-o", "json").stdout)
    assert [neighbour["model"] for neighbour in plan["neighbours"]] == ["twin"]
    assert plan["scaling"]["metric"] == "rps"


def test_a_number_of_a_neighbour_is_explained_by_its_path(kserve_ext, pair: str, repository: str) -> None:
    done = kserve_ext("explain", pair, "neighbours[0].capacity_rps", "--model-repo", repository)
    assert done.returncode == 0, done.stderr
    assert "with every instance of emulated busy beside it" in done.stdout


def test_the_bundle_has_a_config_for_each(kserve_ext, pair: str, repository: str, tmp_path: Path) -> None:
    done = kserve_ext("render", pair, "--model-repo", repository, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    configs = sorted(path.parent.name for path in (tmp_path / "out").glob("*/model_repo/*/config.pbtxt"))
    assert configs == ["emulated", "twin"]


@pytest.mark.parametrize("command", [("run",), ("plan", "--alternatives", "--fleet", "fleet.yaml")], ids=" ".join)
def test_what_looks_at_one_model_says_so(kserve_ext, pair: str, repository: str, command: tuple[str, ...]) -> None:
    done = kserve_ext(command[0], pair, *command[1:], "--model-repo", repository)
    assert done.returncode == 2
    assert "services of one model; found twin" in " ".join(done.stderr.split())


def test_a_neighbour_without_a_profile_is_named_with_what_to_do(kserve_ext, pair: str, repository: str) -> None:
    shutil.rmtree(Path(repository) / "twin" / "profiles")
    done = kserve_ext("plan", pair, "--model-repo", repository)
    assert done.returncode == 2
    assert "no profile of twin" in done.stderr
    assert "kserve-ext profile twin" in done.stderr
