from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kserve_ext.bench.profiler import is_current
from kserve_ext.bench.surroundings import cores, host_facts, model_digest, versions
from kserve_ext.domain import Profile, Quantiles


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("m", "step"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(b"weights of " + name.encode())
        (tmp_path / name / "config.pbtxt").write_text("")
    return tmp_path


def test_the_digest_is_that_of_the_model_files_and_their_names(repository: Path) -> None:
    before = model_digest(repository, ["m", "step"])
    assert before == model_digest(repository, ["step", "m"])
    assert before != model_digest(repository, ["m"])
    (repository / "m" / "config.pbtxt").write_text("max_batch_size: 8")
    (repository / "m" / "1" / "__pycache__").mkdir()
    (repository / "m" / "1" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert before == model_digest(repository, ["m", "step"])
    (repository / "m" / "1" / "model.onnx").rename(repository / "m" / "1" / "other.onnx")
    renamed = model_digest(repository, ["m", "step"])
    assert before != renamed
    (repository / "m" / "1" / "other.onnx").write_bytes(b"weights of n")
    assert renamed != model_digest(repository, ["m", "step"])


def test_host_and_versions_say_what_a_reader_compares() -> None:
    assert int(host_facts()["cores"]) == cores() >= 1
    assert set(host_facts()) == {"cpu", "cores", "kernel", "memory"}
    assert versions("2.51.0")["triton"] == "2.51.0"
    assert "kserve-ext" in versions("2.51.0")


def test_a_profile_of_other_files_or_another_host_is_not_current(repository: Path) -> None:
    profile = Profile(
        model="m", hardware="cpu", model_digest=model_digest(repository, ["m"]), stages=(),
        overhead_s=Quantiles(probabilities=(), values=()), load_s=0, cpu_per_request_s=0, memory_server_bytes=0,
        host={**host_facts(), "kernel": "another"}, versions={}, measured_at="",
    )  # fmt: skip
    assert is_current(profile, repository, ["m"])
    assert not is_current(dataclasses.replace(profile, model_digest="x"), repository, ["m"])
    assert not is_current(dataclasses.replace(profile, host={**profile.host, "cores": "512"}), repository, ["m"])
