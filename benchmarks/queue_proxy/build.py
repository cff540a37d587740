"""The queue-proxy binary, built once from the Go module and kept under out/.

Its admin and metrics ports are fixed in the source, so two cannot run on one machine: in the private copy that is built
they are 0, a free port each. Nothing else is touched, and Go checks the module against its checksum database.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from kserve_ext.errors import KserveExtError

MODULE = "knative.dev/serving"
VERSION = "v0.48.0"  # Knative 1.21, the release that KServe pins
_NEEDED = ("go.mod", "go.sum", "cmd/queue", "pkg")
_PORTS = {"QueueAdminPort = 8022": "QueueAdminPort = 0", "QueueMetricsPort = 9090": "QueueMetricsPort = 0"}
_OUT = Path("out") / "queue_proxy"


def queue_proxy_binary() -> Path:
    """The binary; the first call builds it: 40 s with the modules at hand, minutes without. Raises KserveExtError."""
    binary = (_OUT / VERSION / "queue-proxy").resolve()
    if not binary.exists():
        print(f"building queue-proxy {VERSION} from {MODULE}", flush=True)
        binary.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
            source = _copy(Path(folder) / "source")
            go("build", "-o", str(Path(folder) / "built"), "./cmd/queue", at=source)
            (Path(folder) / "built").replace(binary)
    return binary


def _copy(target: Path) -> Path:
    """The parts of the module that the command is built from, with its ports changed."""
    target.mkdir()
    module = Path(json.loads(go("mod", "download", "-json", f"{MODULE}@{VERSION}", at=target))["Dir"])
    for name in _NEEDED:
        (target / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (module / name).is_dir() else shutil.copyfile
        copy(module / name, target / name)
    constants = target / "pkg" / "networking" / "constants.go"
    for path in (constants.parent, constants):
        path.chmod(0o755)  # the module cache is read-only, and so is its copy
    text = constants.read_text(encoding="utf-8")
    for found, wanted in _PORTS.items():
        if text.count(found) != 1:
            raise KserveExtError(f"{MODULE} {VERSION}: `{found}` is not in {constants.name} once")
        text = text.replace(found, wanted)
    constants.write_text(text, encoding="utf-8")
    return target


def go(*arguments: str, at: Path) -> str:
    """Run the go command; what it printed."""
    if shutil.which("go") is None:
        raise KserveExtError(
            "queue-proxy is built from Go source, and there is no `go` on the path",
            remedy="install Go 1.24 or newer, or leave this bench out",
        )
    environment = os.environ | {"GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    run = subprocess.run(["go", *arguments], cwd=at, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise KserveExtError(
            f"go {' '.join(arguments)} failed: {run.stderr.strip()[-2000:]}",
            remedy="it needs a Go module proxy or a filled module cache",
        )
    return run.stdout
