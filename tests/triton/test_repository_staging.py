"""Staging: what lands in the private copy, and what is said about a repository that cannot be served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kserve_ext.errors import KserveExtError, ModelError
from kserve_ext.render.pbtxt import parse_config
from kserve_ext.triton.repository import SHIM, check_servable, read_config, served_config, stage, with_steps

PYTHON = frozenset({"python"})
FULL = frozenset({"python", "onnxruntime", "tensorrt"})
TENSORS = """input [ { name: "x", data_type: TYPE_FP32, dims: [ 2 ] } ]
output [ { name: "y", data_type: TYPE_FP32, dims: [ 2 ] } ]
"""
ONNX = 'backend: "onnxruntime"\nmax_batch_size: 8\n' + TENSORS


def ensemble(*steps: str) -> str:
    entries = ", ".join(f'{{ model_name: "{step}" model_version: -1 }}' for step in steps)
    return f'platform: "ensemble"\n{TENSORS}ensemble_scheduling {{ step [ {entries} ] }}\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Write files, given by their path in the repository, and say where that is."""

    def write(contents: Mapping[str, str]) -> Path:
        repository = tmp_path / "source"
        repository.mkdir()
        for name, text in contents.items():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            (repository / name).write_text(text)
        return repository

    return write


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_onnx_model_for_a_python_only_server_runs_in_the_shared_program(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    files = {"m/config.pbtxt": ONNX, "m/1/model.onnx": "one", "m/2/model.onnx": "two"}
    source = write(files)
    stage(source, tmp_path / "staged", ["m"], PYTHON)
    staged = tmp_path / "staged" / "m"
    config = read_config(tmp_path / "staged", "m")
    assert (config.name, config.backend, config.max_batch_size) == ("m", "python", 8)
    for version, content in (("1", "one"), ("2", "two")):
        assert (staged / version / "model.py").resolve() == SHIM.resolve()
        assert (staged / version / "model.onnx").read_text() == content
        assert (staged / version / "model.onnx").is_symlink()
    assert tree(source) == files


def test_an_onnx_model_for_a_whole_server_stays_as_it_is(write: Callable[..., Path], tmp_path: Path) -> None:
    stage(write({"m/config.pbtxt": ONNX, "m/1/model.onnx": "x"}), tmp_path / "staged", ["m"], FULL)
    assert read_config(tmp_path / "staged", "m").backend == "onnxruntime"
    assert {entry.name for entry in (tmp_path / "staged" / "m" / "1").iterdir()} == {"model.onnx"}


def test_an_onnx_model_given_by_its_platform_is_known_too(write: Callable[..., Path], tmp_path: Path) -> None:
    text = 'platform: "onnxruntime_onnx"\n' + TENSORS
    stage(write({"m/config.pbtxt": text, "m/1/model.onnx": "x"}), tmp_path / "staged", ["m"], PYTHON)
    assert (tmp_path / "staged" / "m" / "1" / "model.py").is_symlink()


def test_files_beside_the_versions_come_along_but_not_ours_nor_compiled_programs(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    others = ("labels.txt", "configs/cpu.pbtxt", "profiles/cpu.json", "1/__pycache__/model.pyc", "__pycache__/x.pyc")
    source = write(
        {"m/config.pbtxt": 'backend: "python"\n' + TENSORS, "m/1/model.py": "", **{f"m/{name}": "" for name in others}}
    )
    stage(source, tmp_path / "staged", ["m"], PYTHON)
    found = {str(path.relative_to(tmp_path / "staged" / "m")) for path in (tmp_path / "staged" / "m").rglob("*")}
    assert found == {"config.pbtxt", "labels.txt", "1", "1/model.py"}


def test_the_steps_of_an_ensemble_come_along_and_first(write: Callable[..., Path], tmp_path: Path) -> None:
    python = 'backend: "python"\n' + TENSORS
    source = write(
        {
            "all/config.pbtxt": ensemble("inner", "b"), "inner/config.pbtxt": ensemble("a", "b"),
            "a/config.pbtxt": python, "a/1/model.py": "", "b/config.pbtxt": python, "b/1/model.py": "",
        }
    )  # fmt: skip
    assert with_steps(source, "all") == ("a", "b", "inner", "all")
    assert with_steps(source, "a") == ("a",)
    stage(source, tmp_path / "staged", ["all"], PYTHON)
    assert {entry.name for entry in (tmp_path / "staged").iterdir()} == {"all", "inner", "a", "b"}
    assert (tmp_path / "staged" / "all" / "1").is_dir()  # git keeps no empty folder


WRONG = {
    "no config.pbtxt": ({"m/1/model.onnx": "", "other/config.pbtxt": ""}, "m/config.pbtxt: there is no such file",
                        "models here: other"),
    "an unknown field": ({"m/config.pbtxt": ONNX + "max_batchsize: 3"}, "m/config.pbtxt:5: max_batchsize",
                         "max_batch_size"),
    "another name": ({"m/config.pbtxt": 'name: "n"\n' + ONNX}, "m/config.pbtxt: name: ", "found n; allowed: m"),
    "no version folder": ({"m/config.pbtxt": ONNX}, "m/1: there is no version folder", "`make models`"),
    "no model.onnx": ({"m/config.pbtxt": ONNX, "m/1/README": ""}, "m/1/model.onnx: there is no such file",
                      "`make models`"),
    "no file of the name given": (
        {"m/config.pbtxt": ONNX + 'default_model_filename: "w.onnx"', "m/1/model.onnx": ""},
        "m/1/w.onnx: there is no such file", "put w.onnx there"),
    "a file missing in one version": (
        {"m/config.pbtxt": ONNX, "m/1/model.onnx": "", "m/2/README": ""}, "m/2/model.onnx: there is no such file",
        "put model.onnx there"),
    "no model.py": ({"m/config.pbtxt": 'backend: "python"\n' + TENSORS, "m/1/x": ""},
                    "m/1/model.py: there is no such file", "put model.py there"),
    "an unknown backend": ({"m/config.pbtxt": 'backend: "openvino"\n' + TENSORS, "m/1/model.xml": ""},
                           "backend: m: this Triton server has no such backend; found 'openvino'",
                           "allowed: onnxruntime, python, an ensemble"),
    "no inputs": ({"m/config.pbtxt": ONNX[: ONNX.index("input")] + TENSORS[TENSORS.index("output") :],
                   "m/1/model.onnx": ""}, "m/config.pbtxt: input: none is given", "kserve-ext init"),
    "a step that is not there": ({"m/config.pbtxt": ensemble("gone")}, "gone/config.pbtxt: there is no such file",
                                 "models here: m"),
    "a circle": ({"m/config.pbtxt": ensemble("n"), "n/config.pbtxt": ensemble("m")},
                 "m/config.pbtxt: ensemble_scheduling.step: a circle", "m -> n -> m"),
    "text in another encoding": ({"m/config.pbtxt": ONNX + "\udcff"}, "m/config.pbtxt: not a text file", "UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("contents", "what", "help_with"), WRONG.values(), ids=WRONG.keys())
def test_a_repository_that_cannot_be_served_is_refused_before_anything_is_written(
    tmp_path: Path, contents: Mapping[str, str], what: str, help_with: str
) -> None:
    for name, text in contents.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(KserveExtError) as caught:
        stage(tmp_path / "source", tmp_path / "staged", ["m"], PYTHON)
    assert what in caught.value.message
    assert help_with in caught.value.message + caught.value.remedy
    assert not (tmp_path / "staged").exists()


def test_staging_twice_into_one_folder_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    source = write({"m/config.pbtxt": ONNX, "m/1/model.onnx": ""})
    stage(source, tmp_path / "staged", ["m"], PYTHON)
    with pytest.raises(KserveExtError, match="cannot be staged: File exists"):
        stage(source, tmp_path / "staged", ["m"], PYTHON)


def test_a_config_is_checked_against_the_files_before_a_load(write: Callable[..., Path]) -> None:
    source = write({"m/config.pbtxt": 'backend: "python"\n' + TENSORS, "m/1/model.py": ""})
    check_servable(source, "m")
    other = parse_config('backend: "python"\ndefault_model_filename: "other.py"\n' + TENSORS)
    with pytest.raises(ModelError, match=r"m/1/other\.py: there is no such file"):
        check_servable(source, "m", other)


def test_serving_a_config_leaves_the_one_given_alone() -> None:
    config = parse_config(ONNX)
    assert served_config(config, PYTHON).backend == "python"
    assert config.backend == "onnxruntime"
