"""init: from a model file to a manifest and a model repository entry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kserve_ext.cli.shared import QuietOption
from kserve_ext.domain import Protocol


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("init")(init)


def init(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help=".onnx, .pt, .plan, .xml or .py file, or a SavedModel folder.")
    ],
    slo_p99: Annotated[str, typer.Option("--slo-p99", help="What p99 must not exceed, e.g. 80ms.")],
    rate: Annotated[str, typer.Option("--rate", help="Rate to hold, e.g. 40rps or 20..400rps.")],
    name: Annotated[str, typer.Option("--name", help="Name of the service; the file's if left out.")] = "",
    protocol: Annotated[Protocol, typer.Option("--protocol", help="How requests arrive.")] = Protocol.REST,
    hardware: Annotated[str, typer.Option("--hardware", help="Kinds allowed, in order of preference.")] = "cpu",
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="An input that the file does not tell: NAME:FP32:3x224x224.")
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--output", help="An output that the file does not tell: NAME:FP32:1000.")
    ] = None,
    batchable: Annotated[
        bool, typer.Option(help="Whether a first dimension is the batch, for files that do not tell.")
    ] = True,
    max_batch_size: Annotated[int, typer.Option("--max-batch-size", help="Largest batch that a profile tries.")] = 32,
    storage_uri: Annotated[str, typer.Option("--storage-uri", help="Where the cluster finds the model.")] = "",
    folder: Annotated[Path, typer.Option("--folder", help="Project folder to write into.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write an annotated manifest and a model repository entry for a model file.

    Example:  kserve-ext init model.onnx --name sentiment --slo-p99 80ms --rate 5..50rps
    """
    from kserve_ext.cli import output as show
    from kserve_ext.new_service import init_service, write_service

    annotations = {"slo-p99": slo_p99, "rate": rate, "protocol": protocol.value, "hardware": hardware}
    new = init_service(
        model, annotations=annotations, name=name, inputs=inputs or (), outputs=outputs or (), batchable=batchable,
        storage_uri=storage_uri, max_batch_size=max_batch_size,
    )  # fmt: skip
    for path in write_service(new, folder, force=force):
        show.note(f"wrote {path}", quiet=quiet)
    for text in new.notes:
        show.note(f"note: {text}", quiet=quiet)
    show.note(f"next: kserve-ext profile {new.name}, then kserve-ext plan manifests/{new.name}.yaml", quiet=quiet)
