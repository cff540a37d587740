from __future__ import annotations

import subprocess
import sys

HEAVY = {
    "aiohttp", "anyio", "fastapi", "geventhttpclient", "google", "grpc", "httpcore2", "httpx", "httpx2", "kserve",
    "kubernetes", "onnxruntime", "pandas", "pydantic", "rich", "tritonclient", "typer", "yaml",
}  # fmt: skip


def imported_by(code: str) -> set[str]:
    """Top-level packages outside the standard library that running `code` in a fresh interpreter brings in."""
    show = "print(*({name.partition('.')[0] for name in set(sys.modules) - before}))"
    script = f"import sys\nbefore = set(sys.modules)\n{code}\n{show}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split()) - set(sys.stdlib_module_names)


def test_importing_the_client_brings_in_numpy_only() -> None:
    assert {name for name in imported_by("import kserve_ext.client") if not name.startswith("_")} <= {
        "kserve_ext", "numpy", "cython_runtime",
    }  # fmt: skip


def test_a_client_brings_in_the_library_of_its_protocol_only() -> None:
    code = "from kserve_ext.client import Client\nwith Client('{}://127.0.0.1:1') as c: assert not c.ready('m')"
    assert imported_by(code.format("http")) & HEAVY == {"httpcore2", "anyio"}  # the one brings the other
    assert imported_by(code.format("grpc")) & HEAVY == {"grpc", "google"}
