"""`init`: looks at a model file, gives the files of a new service, and writes them whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kserve_ext.errors import ModelError, Problem
from kserve_ext.files import copy, write_text
from kserve_ext.onnx_file import inspect_onnx
from kserve_ext.render.scaffold import DEFAULT_MAX_BATCH_SIZE, SCHEMA_FILE, model_format, scaffold
from kserve_ext.render.tensors import parse_signature

_SHARED = (f"manifests/{SCHEMA_FILE}",)  # the same for every service


@dataclass(frozen=True, slots=True, kw_only=True)
class NewService:
    """Texts to write and files or folders to copy, by path relative to the project; and what a person should know."""

    name: str
    files: Mapping[str, str]
    copies: Mapping[str, Path]
    notes: tuple[str, ...]


def init_service(
    model: Path,
    *,
    annotations: Mapping[str, str],
    name: str = "",
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    batchable: bool = True,
    storage_uri: str = "",
    max_batch_size: int = DEFAULT_MAX_BATCH_SIZE,
) -> NewService:
    """A service for the model at `model`, named after the file unless `name` says otherwise.

    An .onnx file tells its tensors itself; for the other formats they come from `inputs` and `outputs`.
    Raises ModelError and ManifestError.
    """
    kind = model_format(_file_name(model))
    weights = {kind.file_name: model}  # by name in the version folder
    notes: tuple[str, ...] = ()
    if kind.suffix == ".onnx":
        _refuse_shapes(model, inputs, outputs)
        found = inspect_onnx(model)
        signature = found.signature
        weights |= {file: model.parent / file for file in found.external_files}
        notes = () if found.batchable else (f"batching is off: {found.why}",)
    else:
        signature = parse_signature(inputs, outputs, batchable=batchable)
        weights |= {"model.bin": model.with_suffix(".bin")} if kind.suffix == ".xml" else {}
        _check_present(weights.values())
    new = scaffold(
        name=name or _name(model),
        kind=kind,
        signature=signature,
        annotations=annotations,
        storage_uri=storage_uri,
        max_batch_size=max_batch_size,
    )
    return NewService(
        name=new.name,
        files=new.files,
        copies={f"{new.weights_folder}/{file}": source for file, source in weights.items()},
        notes=notes + new.notes,
    )


def _file_name(model: Path) -> str:
    """The name that tells the format; a SavedModel is a folder under any name."""
    return f"{model.name}.savedmodel" if (model / "saved_model.pb").is_file() else model.name


def _name(model: Path) -> str:
    """A service's name made from the file's."""
    return re.sub(r"[^a-z0-9]+", "-", model.stem.lower()).strip("-")


def _refuse_shapes(model: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    for option, texts in (("--input", inputs), ("--output", outputs)):
        if texts:
            what = "an .onnx file tells its tensors itself"
            raise ModelError(Problem(file=str(model), field=option, what=what, found=texts[0], allowed="nothing"))


def _check_present(weights: Iterable[Path]) -> None:
    problems = [
        Problem(file=str(path), what="there is no such file")
        for path in weights
        if not (path.is_file() or (path / "saved_model.pb").is_file())
    ]
    if problems:
        raise ModelError(*problems)


def write_service(new: NewService, folder: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write the texts and copy the weights below `folder`; the paths written.

    Raises ModelError, and then nothing was written, when a file of the service exists and `force` is not given.
    """
    existing = [path for path in (*new.files, *new.copies) if (folder / path).exists() and path not in _SHARED]
    if existing and not force:
        raise ModelError(
            *(Problem(file=str(folder / path), what="exists already") for path in existing),
            remedy="give another --name, or --force to replace it",
        )
    for path, source in new.copies.items():
        copy(source, folder / path)
    for path, text in new.files.items():
        write_text(folder / path, text)
    return tuple(folder / path for path in (*new.copies, *new.files))
