"""A model repository as this server can run it: a private copy made of links, the source never touched.

In: the user's repository, the models to serve, the server's backends. Out: a folder for `--model-repository`.
An ONNX model for a server without that backend gets the shared model.py and a config for the python backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from kserve_ext import files
from kserve_ext.errors import KserveExtError, ModelError, Problem
from kserve_ext.render import pbtxt

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

SHIM = Path(__file__).parent / "shim" / "onnx_model.py"
PREDICTOR_SHIM = SHIM.with_name("predictor_model.py")  # for custom predictors; packaging puts it beside their code
_CONFIG = "config.pbtxt"
# Written here, planned, measured; and a folder that Python would write into through a link.
_NOT_SERVED = frozenset({_CONFIG, "configs", "profiles", "__pycache__"})
# The file each backend runs when the config names none (Triton's own defaults).
_MODEL_FILES = {
    "onnxruntime": "model.onnx", "python": "model.py", "tensorrt": "model.plan", "pytorch": "model.pt",
    "openvino": "model.xml", "tensorflow": "model.savedmodel",
}  # fmt: skip


def read_config(source_repo: Path, model: str) -> ModelConfig:
    """The config.pbtxt of one model, its name filled in. Raises ModelError with the missing file or the line at fault."""
    path = source_repo / model / _CONFIG
    if not path.is_file():
        known = ", ".join(sorted(entry.parent.name for entry in source_repo.glob(f"*/{_CONFIG}"))) or "none"
        raise ModelError(
            Problem(file=str(path), what="there is no such file", found=model, allowed=f"models here: {known}"),
            remedy="kserve-ext init MODEL.onnx writes a model repository entry",
        )
    config = pbtxt.parse_config(files.read_text(path), str(path))
    if config.name not in ("", model):
        what = "the name must be that of the model's folder, or be left out"
        raise ModelError(Problem(file=str(path), field="name", what=what, found=config.name, allowed=model))
    config.name = model
    return config


def with_steps(source_repo: Path, model: str) -> tuple[str, ...]:
    """The model and, before it, the models its ensemble steps need, each once. Raises ModelError for a circle."""
    return tuple(dict.fromkeys(_needed(source_repo, model, ())))


def served_config(config: ModelConfig, backends: frozenset[str]) -> ModelConfig:
    """The config as a server with these backends runs it: an ONNX model moves to the python backend where it must.

    Raises ModelError for a model this server has no backend for.
    """
    name = pbtxt.backend(config)
    if name in backends or name == "ensemble":
        return config
    if name == "onnxruntime" and "python" in backends:
        return pbtxt.on_python_backend(config)
    served = sorted(backends | ({"onnxruntime"} if "python" in backends else set()))
    raise ModelError(
        Problem(
            file=_CONFIG,
            field="backend",
            what=f"{config.name}: this Triton server has no such backend",
            found=repr(name) if name else "none",
            allowed=", ".join((*served, "an ensemble")),
        ),
        remedy="put a tritonserver that has the backend on PATH, or measure against one with its address",
    )


def check_servable(repository: Path, model: str, config: ModelConfig | None = None) -> None:
    """Raise ModelError unless the files of the model and of its ensemble steps are there, for `config` if given.

    Triton must not be asked to load a python model without its file: it waits for ever for a stub that has ended.
    """
    for name in with_steps(repository, model) if config is None else ():
        _check(repository / name, read_config(repository, name))
    if config is not None:
        _check(repository / model, config)


def stage(source_repo: Path, target: Path, models: Sequence[str], backends: frozenset[str]) -> None:
    """Make `target` a repository with these models and their ensemble steps. Raises ModelError before writing any."""
    names = dict.fromkeys(name for model in models for name in with_steps(source_repo, model))
    sources = {name: read_config(source_repo, name) for name in names}
    for name, config in sources.items():
        _check(source_repo / name, config)
    served = {name: served_config(config, backends) for name, config in sources.items()}
    for name, config in served.items():
        uses_shim = pbtxt.backend(sources[name]) != pbtxt.backend(config)
        try:
            _stage_one((source_repo / name).resolve(), target / name, uses_shim)
        except OSError as error:
            raise KserveExtError(f"{target / name}: cannot be staged: {error.strerror}") from error
        files.write_text(target / name / _CONFIG, pbtxt.format_config(config))


def _needed(source_repo: Path, model: str, above: tuple[str, ...]) -> Iterable[str]:
    if model in above:
        circle = " -> ".join((*above, model))
        path = str(source_repo / model / _CONFIG)
        raise ModelError(Problem(file=path, field="ensemble_scheduling.step", what="a circle", found=circle))
    for step in pbtxt.steps(read_config(source_repo, model)):
        yield from _needed(source_repo, step, (*above, model))
    yield model


def _versions(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir() and entry.name.isdecimal() and int(entry.name) > 0]


def _check(folder: Path, config: ModelConfig) -> None:
    """Raise ModelError unless the config says what goes in and out, and the model's file is in each version folder."""
    if pbtxt.is_ensemble(config):
        return
    undescribed = [field for field in ("input", "output") if not getattr(config, field)]
    if undescribed:
        what = "none is given, and Triton is not left to guess what it serves"
        allowed = "each one with name, data_type and dims"
        raise ModelError(
            *(Problem(file=str(folder / _CONFIG), field=name, what=what, allowed=allowed) for name in undescribed),
            remedy="kserve-ext init MODEL.onnx writes them",
        )
    _check_files(folder, pbtxt.backend(config), config.default_model_filename)


def _check_files(folder: Path, backend: str, named: str) -> None:
    filename = named or _MODEL_FILES.get(backend, "")
    remedy = f"put {filename or 'the model'} there"
    if backend == "onnxruntime":
        remedy = f"`make models` builds the models that come with this repository; for your own, {remedy}"
    versions = _versions(folder)
    if not versions:
        what = "there is no version folder"
        raise ModelError(Problem(file=str(folder / "1"), what=what, allowed="a folder named 1, 2, …"), remedy=remedy)
    missing = [version / filename for version in versions if not (version / filename).exists()]
    if missing:
        raise ModelError(*(Problem(file=str(path), what="there is no such file") for path in missing), remedy=remedy)


def _stage_one(source: Path, target: Path, uses_shim: bool) -> None:
    versions = {entry.name for entry in _versions(source)}
    _link_all(source, target, versions | _NOT_SERVED)
    for version in versions:
        _link_all(source / version, target / version, _NOT_SERVED | ({"model.py"} if uses_shim else set()))
        if uses_shim:
            (target / version / "model.py").symlink_to(SHIM)
    if not versions:  # an ensemble's version folder is empty, and git keeps no empty folders
        (target / "1").mkdir()


def _link_all(source: Path, target: Path, left_out: Set[str]) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name not in left_out:
            (target / entry.name).symlink_to(entry)
