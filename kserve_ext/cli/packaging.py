"""package: a custom predictor as a model for Triton."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kserve_ext.cli.shared import REPOSITORY, QuietOption, RepositoryOption


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("package")(package)


def package(
    predictor: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="The Predictor, e.g. predictors.digits:Digits.")
    ],
    model_dir: Annotated[
        Path | None, typer.Option("--model-dir", help="The predictor's files, if any; a copy goes into the model.")
    ] = None,
    triton: Annotated[bool, typer.Option("--triton", help="For Triton's python backend.")] = False,
    name: Annotated[
        str, typer.Option("--name", help="Name of the model; the class's, in lower case, if left out.")
    ] = "",
    repository: RepositoryOption = REPOSITORY,
    max_batch_size: Annotated[int, typer.Option("--max-batch-size", help="Largest batch that a profile tries.")] = 32,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="An input the class does not tell: NAME:FP32:3x224x224.")
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--output", help="An output the class does not tell: NAME:FP32:1000.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the model that has this name.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write a custom predictor as a Triton model: model.py, config.pbtxt, its code and its files.

    The same class gives the same answers on KServe's own server and on Triton.

    Example:  kserve-ext package predictors.digits:Digits --triton --model-dir model_repo/digits/1 --name digits_python
    """
    import sys

    from kserve_ext.cli import output as show
    from kserve_ext.errors import InputError, Problem
    from kserve_ext.packaging.package import package_for_triton

    if not triton:
        raise InputError(Problem(what="for which server is not said", field="package", allowed="--triton"))
    sys.path.insert(0, str(Path.cwd()))  # as `python -m kserve_ext.serving` finds it
    made = package_for_triton(
        predictor, model_dir, name=name or predictor.rpartition(":")[2].lower(), repository=repository,
        max_batch_size=max_batch_size, inputs=inputs or (), outputs=outputs or (), force=force,
    )  # fmt: skip
    for path in made.written:
        show.note(f"wrote {made.folder / path}", quiet=quiet)
    show.note(f"next: kserve-ext profile {made.folder.name}", quiet=quiet)
