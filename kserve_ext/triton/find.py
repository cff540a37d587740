"""Where the Triton server is: a `tritonserver` on PATH first, then the one inside the nvidia-pytriton wheel.

Out: a frozen `ServerInstall`, or a TritonError with the remedy. Nothing is imported from the wheel and nothing is
written into it: its python backend is completed in a private folder by `prepare`.
"""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kserve_ext.errors import TritonError

_IMAGE_BACKENDS = Path("/opt/tritonserver/backends")  # where NVIDIA's images keep them
_STUB = "triton_python_backend_stub"
_INSTALL_WHEEL = "pip install 'kserve-ext[triton]', or put a tritonserver on PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInstall:
    """One Triton server on this machine, and what it needs to run."""

    binary: Path
    backends_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)  # added to the environment of this process
    backends: frozenset[str]  # folders of `backends_dir`; an ensemble needs none
    origin: str  # in words, for messages and reports
    stub: Path | None = None  # python-backend program that `prepare` must put beside the backend; None: it is there


def find_server() -> ServerInstall:
    """The server to use on this machine. Raises TritonError that says what is missing and how to get it."""
    on_path = shutil.which("tritonserver")
    return _from_path(Path(on_path)) if on_path else _from_wheel()


def prepare(install: ServerInstall, folder: Path) -> ServerInstall:
    """The install completed in `folder`: the wheel's python backend, the stub of this Python, and its packages.

    The stub starts the `python3` it finds on PATH, isolated. That is given as a tiny virtual environment in `folder`
    which shows the same packages as the running interpreter, however those came to it.
    """
    if install.stub is None:
        return install
    backends_dir = folder / "backends"
    for source in install.backends_dir.iterdir():
        if source.is_dir() and source.name != "python":
            _link(backends_dir / source.name, source)
    for source in (*(install.backends_dir / "python").iterdir(), install.stub):
        if not source.is_dir():
            _link(backends_dir / "python" / source.name, source)
    python_dir = _virtual_environment(folder / "python")
    path = os.pathsep.join((str(python_dir), os.environ.get("PATH", os.defpath)))
    return replace(install, backends_dir=backends_dir, environment={**install.environment, "PATH": path}, stub=None)


def _from_path(program: Path) -> ServerInstall:
    binary = program.resolve()
    candidates = (binary.parent.parent / "backends", _IMAGE_BACKENDS)
    backends_dir = next((folder for folder in candidates if folder.is_dir()), None)
    if backends_dir is None:
        raise TritonError(
            f"{program} is on PATH, but it has no backends: neither {candidates[0]} nor {candidates[1]} exists",
            remedy="put the bin folder of a whole Triton on PATH, or take this one off it to use nvidia-pytriton",
        )
    return ServerInstall(
        binary=binary, backends_dir=backends_dir, backends=_backends(backends_dir), origin=f"{program} on PATH"
    )


def _from_wheel() -> ServerInstall:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise TritonError(
            "no Triton server: there is no tritonserver on PATH, and nvidia-pytriton is not installed",
            remedy=_INSTALL_WHEEL,
        )
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    binary, backends_dir = root / "bin" / "tritonserver", root / "backends"
    for part in (binary, backends_dir / "python"):
        if not part.exists():
            raise TritonError(f"nvidia-pytriton is not whole: {part} is missing", remedy=_INSTALL_WHEEL)
    _check_numpy()
    libraries = [str(package.parent / "nvidia_pytriton.libs"), *_libpython_folder()]
    inherited = os.environ.get("LD_LIBRARY_PATH")
    return ServerInstall(
        binary=binary,
        backends_dir=backends_dir,
        environment={"LD_LIBRARY_PATH": os.pathsep.join([*libraries, *([inherited] if inherited else [])])},
        backends=_backends(backends_dir),
        origin=f"nvidia-pytriton {importlib.metadata.version('nvidia-pytriton')}",
        stub=_stub(root / "python_backend_stubs"),
    )


def _backends(folder: Path) -> frozenset[str]:
    return frozenset(entry.name for entry in folder.iterdir() if entry.is_dir())


def _check_numpy() -> None:
    """The wheel's python backend answers tensors of a wrong shape with numpy 2."""
    try:
        version = importlib.metadata.version("numpy")
    except importlib.metadata.PackageNotFoundError:
        raise TritonError("numpy is not installed; the python backend needs it", remedy=_INSTALL_WHEEL) from None
    if int(version.split(".")[0]) >= 2:
        raise TritonError(
            f"numpy {version} is installed; the Triton of nvidia-pytriton answers wrong shapes with numpy 2",
            remedy="pip install 'numpy>=1.26,<2'",
        )


def _stub(stubs: Path) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = stubs / version / _STUB
    if not stub.exists():
        known = ", ".join(sorted((entry.name for entry in stubs.glob("3.*")), key=lambda name: int(name[2:])))
        raise TritonError(
            f"nvidia-pytriton has no python backend for Python {version}",
            remedy=f"use a Python among {known or 'none: the wheel is not whole'}",
        )
    return stub


def _libpython_folder() -> tuple[str, ...]:
    """The folder to add so that the stub finds libpython; empty where the system's own linker finds it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = f"libpython{version}.so.1.0"
    for folder in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix) / "lib"):
        if folder and (Path(folder) / library).is_file():
            return (str(folder),)
    if ctypes.util.find_library(f"python{version}"):
        return ()
    raise TritonError(
        f"{library} is nowhere on this machine; Triton's python backend is linked against it",
        remedy=f"apt-get install libpython{version}, or use a Python built with --enable-shared",
    )


def _virtual_environment(folder: Path) -> Path:
    """A folder with a `python3` that imports what this interpreter imports from its package folders."""
    program, base = Path(sys.executable), Path(getattr(sys, "_base_executable", sys.executable))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    _link(folder / "bin" / "python3", program)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n", encoding="utf-8")
    shown = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    lines = [f"import site; site.addsitedir({entry!r})\n" for entry in shown]  # with the .pth files inside them
    (packages / "packages.pth").write_text("".join(lines), encoding="utf-8")
    return folder / "bin"


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
