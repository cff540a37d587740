"""Options that several commands have, and the reading of what they name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kserve_ext.cli.formats import Format

if TYPE_CHECKING:
    from kserve_ext.domain import Service

ManifestArgument = Annotated[
    list[str], typer.Argument(metavar="MANIFEST…", help="InferenceService files, or - for standard input.")
]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How the result is shown.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
RepositoryOption = Annotated[
    Path, typer.Option("--model-repo", help="The model repository.", envvar="KSERVE_EXT_MODEL_REPO")
]
_T = TypeVar("_T")

REPOSITORY = Path("model_repo")


def read_services(manifests: list[str]) -> tuple[Service, ...]:
    """The services in the manifests named on the command line. Raises InputError with every problem of all files."""
    from kserve_ext.files import read_text
    from kserve_ext.intent.read import read_many

    return read_many([(name, sys.stdin.read()) if name == "-" else (name, read_text(Path(name))) for name in manifests])


def manifest_folder(service: Service) -> Path:
    """The folder of the file a service was read from; the current one for standard input."""
    return Path(service.source.rpartition(":")[0]).parent


def one_service(manifest: str) -> Service:
    """The only service of one manifest. Raises ManifestError when there are more."""
    from kserve_ext.errors import ManifestError, Problem

    services = read_services([manifest])
    if len(services) != 1:
        names = ", ".join(service.intent.name for service in services)
        raise ManifestError(Problem(file=manifest, what="one InferenceService at a time is served", found=names))
    return services[0]


def option(name: str, text: str, parse: Callable[[str], _T]) -> _T:
    """The value of an option's text. Raises InputError naming the option, what was found and what is allowed."""
    from kserve_ext.errors import InputError, Problem

    try:
        return parse(text)
    except ValueError as error:
        raise InputError(Problem(field=name, what="cannot be read", found=text, allowed=str(error))) from error
