"""Rules about the model repository: folders, version folders, model files, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kserve_ext.lint.config import Config
from kserve_ext.lint.finding import Action, Edit, Hit, Severity
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.project import Project, repository_of
from kserve_ext.lint.subjects import readable_configs
from kserve_ext.render.pbtxt import is_ensemble
from kserve_ext.render.tensors import VARIABLE, TensorShape

# The file that each backend runs when the config names none; TensorFlow's depends on the platform.
_MODEL_FILES = {
    "onnxruntime": "model.onnx", "python": "model.py", "tensorrt": "model.plan", "pytorch": "model.pt",
    "openvino": "model.xml",
}  # fmt: skip


def _in_repository(config: Config) -> bool:
    """Whether its folder is a model's: a config may also lie beside a guide that says where to copy it."""
    folder = config.folder
    return bool(folder.versions or folder.complete_siblings or "model" in repository_of(config).rpartition("/")[2])


def _on_disk(project: Project) -> Iterator[Config]:
    """The config.pbtxt of each model."""
    return (one for one in readable_configs(project) if not one.variant)


@make(
    "KX501", "name-is-not-the-folder", Severity.ERROR, readable_configs,
    what="A name in config.pbtxt that is not the model's folder.",
    leave="The model does not load.",
    remedy="leave name out, or make it the folder's name",
    fix="sets the name to the folder's",
)  # fmt: skip
def name_of_folder(config: Config) -> Iterator[Hit]:
    written = config.find("name")
    if written is not None and _in_repository(config) and config.message.name not in ("", config.model):
        edit = Edit(action=Action.REPLACE, line=written.line, field="name", text=f'"{config.model}"')
        yield Hit(place=config.place("name"), message=f"name {config.message.name!r} in the folder {config.model}",
                  edits=(edit,))  # fmt: skip


@make(
    "KX502", "no-version-folder", Severity.ERROR, _on_disk,
    what="A model without a version folder (1, 2, …), in a repository whose other models have one.",
    leave="Triton finds no version to serve: the model does not load. An ensemble needs one too, an empty one; git keeps no "
    "empty folder, so put a .gitkeep in it.",
    remedy="make the folder 1 with the model's file in it",
)  # fmt: skip
def no_version(config: Config) -> Iterator[Hit]:
    if config.folder.complete_siblings and not config.folder.versions:
        yield config.hit(f"{config.model} has no version folder")


@make(
    "KX503", "model-file-missing", Severity.ERROR, _on_disk,
    what="A version folder without the file that the backend loads.",
    leave="The model does not load; a python model without its file makes Triton wait for a stub that has ended.",
    remedy="put the file there, or name it in default_model_filename",
)  # fmt: skip
def no_file(config: Config) -> Iterator[Hit]:
    message = config.message
    name = message.default_model_filename or _MODEL_FILES.get(config.backend, "")
    if not name or is_ensemble(message) or "$" in name:
        return
    for version, files in sorted(config.folder.versions.items()):
        if name not in files:
            held = ", ".join(files) or "nothing"
            yield config.hit(f"{version}/{name} is not there; {version} holds {held}", "default_model_filename", "backend",
                             "platform")  # fmt: skip


@make(
    "KX504", "onnx-file-unreadable", Severity.ERROR, _on_disk,
    what="An ONNX file that cannot be read, or whose weights are missing or cut off.",
    leave="The model does not load.",
    remedy="export it again; external weights belong beside the file",
)  # fmt: skip
def onnx_unreadable(config: Config) -> Iterator[Hit]:
    for path, why in sorted(config.folder.unreadable.items()):
        yield config.hit(f"{path}: {why}", "backend", "platform")


@make(
    "KX505", "dims-contradict-the-onnx-file", Severity.ERROR, _on_disk,
    what="Tensors in config.pbtxt that the ONNX file does not have, or has with another type or other dimensions.",
    leave="The model does not load, or, where its batch dimension is fixed, fails with 'model does not support batching'.",
    remedy="dims leave out the batch dimension where max_batch_size is above 0; `kserve-ext init MODEL.onnx` writes them",
)  # fmt: skip
def contradicts_file(config: Config) -> Iterator[Hit]:
    batched = config.message.max_batch_size > 0
    for path, signature in sorted(config.folder.signatures.items()):
        if batched and not signature.batchable:
            yield config.hit(f"max_batch_size {config.message.max_batch_size}, and {path} has no variable first dimension",
                             "max_batch_size")  # fmt: skip
            continue
        for side, known in (("input", signature.inputs), ("output", signature.outputs)):
            yield from _compare(config, side, known, path, batched=batched)


def _compare(config: Config, side: str, known: Sequence[TensorShape], path: str, *, batched: bool) -> Iterator[Hit]:
    by_name = {tensor.name: tensor for tensor in known}
    written = list(getattr(config.message, side))
    for index, tensor in enumerate(written):
        place = f"{side}[{index}]" if index else side
        found = by_name.get(tensor.name)
        if found is None:
            yield config.hit(f"{path} has no {side} {tensor.name}; it has {', '.join(by_name)}", f"{place}.name", place)
            continue
        kind = tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[tensor.data_type].name
        if kind != found.datatype:
            yield config.hit(f"{side} {tensor.name} is {kind}, in {path} {found.datatype}", f"{place}.data_type", place)
        dims = tuple(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        wanted = found.dims[1:] if batched else found.dims
        if not _fits(dims, wanted):
            yield config.hit(f"{side} {tensor.name} has dims {list(dims)}, {path} {list(wanted)} after the batch"
                             if batched else f"{side} {tensor.name} has dims {list(dims)}, {path} {list(wanted)}",
                             f"{place}.dims", place)  # fmt: skip
    given = {tensor.name for tensor in written} | _filled_in(config)
    missing = sorted(set(by_name) - given)
    if side == "input" and written and missing:
        yield config.hit(f"{path} needs the input {', '.join(missing)} as well", side)


def _filled_in(config: Config) -> set[str]:
    """Inputs that Triton gives the model itself: controls and states of a sequence."""
    batching = config.message.sequence_batching
    return {one.name for one in batching.control_input} | {one.input_name for one in batching.state}


def _fits(dims: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether the dimensions agree; one that is variable in the file takes any."""
    return len(dims) == len(wanted) and all(
        theirs == VARIABLE or mine == theirs for mine, theirs in zip(dims, wanted, strict=True)
    )


RULES = (name_of_folder, no_version, no_file, onnx_unreadable, contradicts_file)
