"""The command line: parses arguments, calls one library function per command, shows the result.

Exit codes: 0 ok, 1 SLO not held or differs, 2 usage or bad input, 3 infeasible, 4 server or cluster unreachable.
"""

from __future__ import annotations

import os
import sys

import typer

from kserve_ext import __version__
from kserve_ext.cli import (
    applying,
    authoring,
    fleet,
    lint,
    measuring,
    operating,
    packaging,
    planning,
    serving,
    shared,
    simulating,
    traffic,
    watching,
)
from kserve_ext.cli.formats import Format
from kserve_ext.errors import KserveExtError

INTERNAL = 70  # EX_SOFTWARE
TRACEBACK = "KSERVE_EXT_TRACEBACK"
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    name="kserve-ext",
    help="Say how fast a model must answer; get a KServe InferenceService that holds it.",
    epilog="Example:  kserve-ext plan manifests/examples/digits.yaml\n\n"
    "Exit codes: 0 ok · 1 SLO not held or differs · 2 usage or bad input · 3 infeasible · 4 unreachable",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS = (
    authoring, fleet, lint, measuring, operating, packaging, planning, serving, simulating, traffic, applying, watching,
)  # fmt: skip
for module in _COMMANDS:
    module.register(app)


@app.command()
def version(output: shared.OutputOption = Format.TABLE) -> None:
    """Print the version.

    Example:  kserve-ext version -o json
    """
    if output is Format.TABLE:
        sys.stdout.write(f"kserve-ext {__version__}\n")
    else:
        from kserve_ext.cli.output import emit

        emit({"version": __version__}, output)


def main() -> None:
    """Entry point: runs a command and turns errors into a message and an exit code. No traceback reaches a user."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small here: more threads only wait for each other
    try:
        app(standalone_mode=True)
    except KserveExtError as error:
        from kserve_ext.cli.output import fail

        fail(error.message, error.remedy)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: nothing left to say
        sys.exit(0)
    except Exception as error:  # the last stop: what nobody foresaw becomes a message too
        if os.environ.get(TRACEBACK):
            raise
        from kserve_ext.cli.output import fail

        fail(
            f"{type(error).__name__}: {error}", f"this is a fault of kserve-ext; {TRACEBACK}=1 shows where it happened"
        )
        sys.exit(INTERNAL)


if __name__ == "__main__":
    main()
