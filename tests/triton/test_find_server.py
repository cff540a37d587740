"""Finding the server: PATH first, then the wheel; and what is said when something is missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from kserve_ext.errors import TritonError
from kserve_ext.triton import find
from kserve_ext.triton.find import find_server, prepare

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def program() -> Callable[[Path], Path]:
    def program(place: Path) -> Path:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("#!/bin/sh\n")
        place.chmod(0o755)
        return place

    return program


@pytest.fixture
def no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)


@pytest.fixture
def wheel(no_path: None, program: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an nvidia-pytriton with a stub for this Python, in place of the one installed."""
    root = tmp_path / "pytriton" / "tritonserver"
    for part in ("bin/tritonserver", "backends/python/libtriton_python.so", "python_backend_stubs/3.9/stub"):
        program(root / part)
    program(root / "python_backend_stubs" / VERSION / "triton_python_backend_stub")
    spec = types.SimpleNamespace(origin=str(tmp_path / "pytriton" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    versions = {"numpy": "1.26.4", "nvidia-pytriton": "0.7.0"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    return root


def test_a_tritonserver_on_path_comes_first_with_the_backends_beside_it(
    program: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = program(tmp_path / "tritonserver" / "bin" / "tritonserver")
    for backend in ("python", "onnxruntime"):
        (tmp_path / "tritonserver" / "backends" / backend).mkdir(parents=True)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "tritonserver").symlink_to(binary)
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    found = find_server()
    assert found.binary == binary
    assert found.backends_dir == tmp_path / "tritonserver" / "backends"
    assert found.backends == {"python", "onnxruntime"}
    assert not found.environment
    assert found.origin == f"{tmp_path}/links/tritonserver on PATH"
    assert prepare(found, tmp_path / "private") is found


def test_a_tritonserver_on_path_without_backends_is_refused(
    program: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "tritonserver")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(find, "_IMAGE_BACKENDS", tmp_path / "nowhere")
    with pytest.raises(TritonError, match=f"neither {tmp_path}/backends nor {tmp_path}/nowhere exists") as caught:
        find_server()
    assert "take this one off" in caught.value.remedy


def test_without_any_server_the_remedy_is_the_extra(no_path: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TritonError, match="no Triton server") as caught:
        find_server()
    assert "pip install 'kserve-ext[triton]'" in caught.value.remedy


def test_the_wheel_is_found_with_its_libraries_and_its_only_backend(wheel: Path) -> None:
    found = find_server()
    assert found.binary == wheel / "bin" / "tritonserver"
    assert found.backends == {"python"}
    assert found.environment["LD_LIBRARY_PATH"].startswith(str(wheel.parents[1] / "nvidia_pytriton.libs"))
    assert found.origin == "nvidia-pytriton 0.7.0"


def test_a_library_path_of_the_user_is_kept_behind(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/their/libraries")
    assert find_server().environment["LD_LIBRARY_PATH"].endswith(os.pathsep + "/their/libraries")


def test_numpy_2_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.3.0")
    with pytest.raises(TritonError, match=r"numpy 2\.3\.0 is installed") as caught:
        find_server()
    assert caught.value.remedy == "pip install 'numpy>=1.26,<2'"


def test_a_python_without_a_stub_in_the_wheel_is_refused(wheel: Path) -> None:
    (wheel / "python_backend_stubs" / VERSION / "triton_python_backend_stub").unlink()
    (wheel / "python_backend_stubs" / VERSION).rmdir()
    with pytest.raises(TritonError, match=f"no python backend for Python {VERSION}") as caught:
        find_server()
    assert caught.value.remedy == "use a Python among 3.9"


def test_a_machine_without_libpython_is_told_how_to_get_it(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(TritonError, match=rf"libpython{VERSION}\.so\.1\.0 is nowhere") as caught:
        find_server()
    assert f"apt-get install libpython{VERSION}" in caught.value.remedy


def test_a_wheel_without_its_server_is_named(wheel: Path) -> None:
    (wheel / "bin" / "tritonserver").unlink()
    with pytest.raises(TritonError, match=r"not whole: .*bin/tritonserver is missing"):
        find_server()


def test_preparing_puts_stub_and_packages_into_a_private_folder_only(wheel: Path, tmp_path: Path) -> None:
    before = sorted(wheel.rglob("*"))
    prepared = prepare(find_server(), tmp_path / "private")
    assert prepared.backends_dir == tmp_path / "private" / "backends"
    names = {entry.name for entry in (prepared.backends_dir / "python").iterdir()}
    assert names == {"libtriton_python.so", "triton_python_backend_stub"}
    assert sorted(wheel.rglob("*")) == before


def test_the_private_python_imports_what_this_one_imports(wheel: Path, tmp_path: Path) -> None:
    folder = prepare(find_server(), tmp_path / "private").environment["PATH"].split(os.pathsep)[0]
    program = "import numpy, sys; print(numpy.__file__); print(sys.prefix)"
    command = [f"{folder}/python3", "-I", "-c", program]
    numpy_file, prefix = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert prefix == str(tmp_path / "private" / "python")
    assert Path(numpy_file).parent.parent in map(Path, sys.path)
