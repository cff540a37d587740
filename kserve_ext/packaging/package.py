"""`package`: a predictor's class and files in; a model folder for Triton's python backend out, whole in itself.

The predictor is loaded once, to ask it for its signature. The folder holds `model.py`, the sources the class stands
on and its artifacts, so a server needs no kserve_ext, only numpy and what the predictor itself imports.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kserve_ext import files
from kserve_ext.errors import InputError, KserveExtError, ModelError, Problem
from kserve_ext.packaging.closure import sources
from kserve_ext.render.pbtxt import format_config
from kserve_ext.render.scaffold import described
from kserve_ext.render.tensors import Signature, parse_signature
from kserve_ext.serving.predictor import Predictor, find_predictor
from kserve_ext.triton.repository import PREDICTOR_SHIM

PREDICTOR_PARAMETER = "predictor"
_SHIM_NEEDS = (
    "kserve_ext.serving.execution", "kserve_ext.serving.faults", "kserve_ext.serving.instances",
    "kserve_ext.serving.predictor", "kserve_ext.serving.settings",
)  # fmt: skip
_NOT_ARTIFACTS = ("__pycache__", ".*", "config.pbtxt", "configs", "profiles", "samples.json")
_NAME_ALLOWED = "letters, digits, . _ -"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What was written: the model's folder, and the files in it besides the artifacts."""

    folder: Path
    signature: Signature
    written: tuple[str, ...]


def package_for_triton(
    target: str,
    artifacts: Path | None,
    *,
    name: str,
    repository: Path,
    max_batch_size: int,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    force: bool = False,
) -> Package:
    """Make `repository/name` the model that runs the class `module:Class` on the files in `artifacts`, or on none.

    `inputs` and `outputs` tell the tensors of a predictor that does not. Raises InputError, ModelError.
    """
    folder = repository / name
    _check(name, folder, artifacts, max_batch_size, force=force)
    predictor = find_predictor(target)
    module = target.partition(":")[0]
    code = sources([*_SHIM_NEEDS, module], {"kserve_ext", module.partition(".")[0]})
    with tempfile.TemporaryDirectory(prefix="kserve-ext-package-") as temporary:
        given = artifacts or Path(temporary, "none")
        given.mkdir(exist_ok=True)
        signature = _signature(predictor, given, inputs, outputs)
        config = _config(name, target, signature, max_batch_size)
        version = Path(temporary) / "1"
        _lay_out(version, code, given)
        files.copy(version, folder / "1")
    files.write_text(folder / "config.pbtxt", config)
    return Package(
        folder=folder,
        signature=signature,
        written=("config.pbtxt", "1/model.py", *(f"1/code/{path}" for path in code)),
    )


def _check(name: str, folder: Path, artifacts: Path | None, max_batch_size: int, *, force: bool) -> None:
    problems = []
    if not name or not all(letter.isalnum() or letter in "._-" for letter in name) or name.startswith("."):
        problems.append(Problem(field="--name", what="not a name for a model", found=repr(name), allowed=_NAME_ALLOWED))
    if artifacts is not None and not artifacts.is_dir():
        problems.append(Problem(field="--model-dir", what="no such folder", found=str(artifacts)))
    if max_batch_size < 0:
        problems.append(
            Problem(field="--max-batch-size", what="too small", found=str(max_batch_size), allowed="0 or more")
        )
    if folder.exists() and not force:
        problems.append(
            Problem(file=str(folder), what="exists", allowed="another --name, or --force to replace the model in it")
        )
    if problems:
        raise InputError(*problems)


def _signature(predictor: type[Predictor], artifacts: Path, inputs: Sequence[str], outputs: Sequence[str]) -> Signature:
    if inputs or outputs:
        return parse_signature(inputs, outputs)
    one = predictor()
    try:
        one.load(artifacts)
        signature = one.signature(artifacts)
    except KserveExtError:
        raise
    except Exception as error:
        what = f"cannot be loaded from {artifacts}: {type(error).__name__}: {error}"
        raise ModelError(Problem(field=predictor.__name__, what=what)) from error
    if signature is None:
        raise ModelError(
            Problem(
                field=predictor.__name__,
                what="does not tell its inputs and outputs, and Triton must be told",
                allowed="a method `signature`, or --input and --output",
            )
        )
    return signature


def _lay_out(version: Path, code: Mapping[str, Path], artifacts: Path) -> None:
    try:
        shutil.copytree(artifacts, version / "artifacts", ignore=shutil.ignore_patterns(*_NOT_ARTIFACTS))
        shutil.copyfile(PREDICTOR_SHIM, version / "model.py")
        for path, source in code.items():
            (version / "code" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, version / "code" / path)
    except (OSError, shutil.Error) as error:
        raise KserveExtError(f"{artifacts}: cannot be packaged: {error}") from error


def _config(name: str, target: str, signature: Signature, max_batch_size: int) -> str:
    config = described(name, signature, max_batch_size)
    config.backend = "python"
    config.instance_group.add(count=1, kind="KIND_CPU")
    config.parameters[PREDICTOR_PARAMETER].string_value = target
    config.parameters["intra_op_thread_count"].string_value = "1"
    return format_config(config)
