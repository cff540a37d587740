"""Dockerfiles of the predictors: small, pinned, without root, and buildable where nothing can be pulled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PREDICTORS = sorted(ROOT.glob("predictors/*/Dockerfile"))
ALL = [*PREDICTORS, ROOT / "model_repo/Dockerfile"]


def stages(file: Path) -> list[list[str]]:
    """The instructions of each stage, continued lines joined, comments left out."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    found: list[list[str]] = []
    for line in joined:
        if line.startswith("FROM "):
            found.append([])
        if found:
            found[-1].append(line)
    return found


@pytest.mark.parametrize("file", ALL, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_base_is_pinned_and_can_be_another(file: Path) -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", file.read_text(), re.MULTILINE)
    assert re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", base)
    assert all(stage[0].split()[1] == "${BASE}" for stage in stages(file))


@pytest.mark.parametrize("file", ALL, ids=lambda file: str(file.relative_to(ROOT)))
def test_it_runs_as_a_numbered_user_without_rights(file: Path) -> None:
    users = [line.split()[1] for line in stages(file)[-1] if line.startswith("USER ")]
    assert len(users) == 1
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[0])  # `runAsNonRoot` cannot judge a name


@pytest.mark.parametrize("file", PREDICTORS, ids=lambda file: file.parent.name)
def test_what_builds_stays_behind_and_no_index_is_baked_in(file: Path) -> None:
    first, last = stages(file)
    assert not [line for line in last if re.search(r"pip install|apt-get|ARG|INDEX|constraints", line)]
    assert any(re.search(r"pip uninstall .* pip setuptools", line) for line in first)
    assert any("-name pip" in line and "rm -rf" in line for line in last)
    assert not re.search(r"https?://", file.read_text())


@pytest.mark.parametrize("file", PREDICTORS, ids=lambda file: file.parent.name)
def test_every_package_gets_the_version_of_the_constraints(file: Path) -> None:
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = (file.parent / "requirements.txt").read_text().splitlines()
    for name in (line for line in wanted if line and not line.startswith("#")):
        assert name.lower() in pinned
    installs = [part for line in stages(file)[0] for part in line.split("&&") if "pip install" in part]
    assert installs
    assert all("-c /build/constraints.txt" in part for part in installs)


def test_the_builder_is_sent_what_the_dockerfiles_copy_and_no_weights() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert "*" in ignore
    for file in PREDICTORS:
        for line in (
            line for stage in stages(file) for line in stage if line.startswith("COPY ") and "--from" not in line
        ):
            for source in line.split()[1:-1]:
                assert source.partition("/")[0] in sent
