"""What a measurement depends on besides the model's code: its files, the host, the versions."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from kserve_ext import __version__

_BLOCK_BYTES = 2**20


def model_digest(repository: Path, models: Sequence[str]) -> str:
    """sha256 over the files in the version folders of `models`, names and contents, in sorted order."""
    digest = hashlib.sha256()
    for model in sorted(models):
        for path in sorted((repository / model).glob("[0-9]*/**/*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(repository)}\0{path.stat().st_size}\0".encode())
                with path.open("rb") as stream:
                    while block := stream.read(_BLOCK_BYTES):
                        digest.update(block)
    return digest.hexdigest()


def host_facts() -> Mapping[str, str]:
    """The machine in words: what two profiles must share to be comparable, and what explains a difference."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_name(),
        "cores": str(cores()),
        "kernel": f"{platform.system()} {platform.release()}",
        "memory": f"{memory_bytes / 2**30:.0f} GiB",
    }


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def versions(server_version: str) -> Mapping[str, str]:
    """Versions of what was measured and of what measured it."""
    found = {"triton": server_version, "python": platform.python_version(), "kserve-ext": __version__}
    for name in ("onnxruntime", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
