"""What an import may pull in: the lists, not the times, since a time says more of the machine than of the code."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOR_PACKAGE = {"kserve_ext"}
FOR_HELP = {
    "kserve_ext", "typer", "rich", "annotated_doc", "shellingham", "markdown_it", "mdurl", "pygments", "typing_extensions",
    "attr",  # rich imports attrs where it is installed
}  # fmt: skip
HEAVY = {
    "numpy",
    "yaml",
    "tritonclient",
    "grpc",
    "google",
    "onnx",
    "onnxruntime",
    "matplotlib",
    "jinja2",
    "kubernetes",
    "kserve",
}


def third_party(code: str) -> set[str]:
    """Top-level packages that are not Python's own and that running `code` in a fresh interpreter imports."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded = set(out.splitlines()[-1].split())
    at_start = subprocess.run(
        [sys.executable, "-c", "import sys; print(' '.join({name.partition('.')[0] for name in sys.modules}))"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return {name for name in loaded - set(at_start) if name not in sys.stdlib_module_names}


def test_importing_the_package_pulls_in_nothing_else() -> None:
    assert third_party("import kserve_ext") == FOR_PACKAGE


def help_of(*command: str) -> str:
    """Code that shows a command's help and ends normally."""
    return (
        "import sys\n"
        f"sys.argv = ['kserve-ext', *{command!r}, '--help']\n"
        "from kserve_ext.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
    )


def test_help_pulls_in_the_command_line_libraries_only() -> None:
    assert third_party(help_of()) <= FOR_HELP


@pytest.mark.parametrize(
    "command",
    [
        "plan",
        "run",
        "verify",
        "profile",
        "init",
        "lint",
        "fleet",
        "traffic",
        "simulate",
        "whatif",
        "demo",
        "apply",
        "status",
    ],
)
def test_help_of_a_command_pulls_in_no_heavy_library(command: str) -> None:
    assert not third_party(help_of(command)) & HEAVY
