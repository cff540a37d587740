"""A new service: name, model format and annotations in, the texts of its manifest and config.pbtxt out.

The manifest is an ordinary InferenceService, the config the smallest that serves the model; a plan fills in the rest.
No I/O: the caller writes the files and puts the weights where `weights_folder` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kserve_ext.domain import Mode, Protocol
from kserve_ext.errors import ManifestError, ModelError, Problem
from kserve_ext.intent import ANNOTATIONS, PREFIX, intent_schema_text
from kserve_ext.intent.annotations import BY_NAME, nearest_name, parse_annotation
from kserve_ext.intent.mode import MODE_ANNOTATION
from kserve_ext.intent.objects import API_VERSION, KIND
from kserve_ext.intent.read import NAME_ALLOWED, NAME_PATTERN
from kserve_ext.render.pbtxt import format_config, parse_config
from kserve_ext.render.runtime import CLUSTER_RUNTIMES, PROTOCOL_VERSION
from kserve_ext.render.tensors import Signature
from kserve_ext.render.text import to_yaml

if TYPE_CHECKING:
    from kserve_ext.render.pbtxt import ModelConfig

DEFAULT_MAX_BATCH_SIZE = 32  # the largest batch a profile tries; the plan chooses below it
SCHEMA_FILE = "intent.schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFormat:
    """How Triton serves one kind of model file: its backend, and the name it looks for in the version folder."""

    suffix: str
    backend: str
    file_name: str
    platform: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaffold:
    """The texts of a new service by path, the folder for its weights, and what a person should know."""

    name: str
    files: Mapping[str, str]
    weights_folder: str
    notes: tuple[str, ...]


_TORCH_NOTE = (
    "TorchScript files do not tell names: call outputs NAME__INDEX (OUTPUT__0, OUTPUT__1), "
    "and inputs the same (INPUT__0) or as the arguments of forward()"
)
_TENSORFLOW_NOTE = (
    "NVIDIA's Triton images have no TensorFlow backend after 25.02: use an older image, or convert to ONNX"
)
_TENSORRT_NOTE = "a TensorRT plan runs only with the TensorRT version and the GPU model that built it"
_OPENVINO_NOTE = "the weights (.bin) belong beside the .xml, under the same name"

FORMATS = (
    ModelFormat(suffix=".onnx", backend="onnxruntime", file_name="model.onnx"),
    ModelFormat(suffix=".pt", backend="pytorch", file_name="model.pt", note=_TORCH_NOTE),
    ModelFormat(suffix=".pth", backend="pytorch", file_name="model.pt", note=_TORCH_NOTE),
    ModelFormat(
        suffix=".savedmodel",
        backend="tensorflow",
        file_name="model.savedmodel",
        platform="tensorflow_savedmodel",  # the backend serves two kinds of file and must be told which
        note=_TENSORFLOW_NOTE,
    ),
    ModelFormat(suffix=".plan", backend="tensorrt", file_name="model.plan", note=_TENSORRT_NOTE),
    ModelFormat(suffix=".engine", backend="tensorrt", file_name="model.plan", note=_TENSORRT_NOTE),
    ModelFormat(suffix=".xml", backend="openvino", file_name="model.xml", note=_OPENVINO_NOTE),
    ModelFormat(suffix=".py", backend="python", file_name="model.py"),
)


def model_format(file_name: str) -> ModelFormat:
    """The format that a file name tells. Raises ModelError."""
    for known in FORMATS:
        if file_name.lower().endswith(known.suffix):
            return known
    allowed = ", ".join(known.suffix for known in FORMATS) + ", or the folder of a TensorFlow SavedModel"
    raise ModelError(Problem(file=file_name, what="not a model format that Triton serves", allowed=allowed))


def scaffold(
    *,
    name: str,
    kind: ModelFormat,
    signature: Signature,
    annotations: Mapping[str, str],
    storage_uri: str = "",
    max_batch_size: int = DEFAULT_MAX_BATCH_SIZE,
) -> Scaffold:
    """The files of a new service. `annotations` are ours without the prefix, `slo-p99` and `rate` at least.

    Raises ManifestError for a name or an annotation that would not be read back.
    """
    _check(name, annotations, max_batch_size)
    model = annotations.get("model", name)
    # A folder elsewhere may have any name, so ours is written out.
    wanted = {**annotations, "model": model} if storage_uri else annotations
    return Scaffold(
        name=name,
        files={
            f"manifests/{name}.yaml": _manifest(name, wanted, storage_uri or f"pvc://models/{model}"),
            f"manifests/{SCHEMA_FILE}": intent_schema_text(),
            f"model_repo/{model}/config.pbtxt": _config(model, kind, signature, max_batch_size),
        },
        weights_folder=f"model_repo/{model}/1",
        notes=(kind.note,) if kind.note else (),
    )


def _check(name: str, annotations: Mapping[str, str], max_batch_size: int) -> None:
    problems = []
    if max_batch_size < 1:
        allowed = "1 or more; a model that cannot be batched says so by its signature"
        problems.append(Problem(field="max-batch-size", what="too small", found=str(max_batch_size), allowed=allowed))
    if not re.fullmatch(NAME_PATTERN, name):
        problems.append(Problem(field="name", what="not a name for a service", found=repr(name), allowed=NAME_ALLOWED))
    for row in ANNOTATIONS:
        if row.required and row.key not in annotations:
            problems.append(Problem(field=row.key, what="missing", allowed=row.allowed))
    for key, text in annotations.items():
        if PREFIX + key not in BY_NAME:
            near = nearest_name(PREFIX + key).removeprefix(PREFIX)
            problems.append(Problem(field=key, what=f"unknown annotation, the nearest is {near}"))
            continue
        try:
            parse_annotation(PREFIX + key, text)
        except ValueError as error:
            problems.append(Problem(field=key, what="cannot be read", found=repr(text), allowed=str(error)))
    if problems:
        raise ManifestError(*problems)


def _manifest(name: str, annotations: Mapping[str, str], storage_uri: str) -> str:
    """The InferenceService. Mode and runtime are written out: clusters differ in what they assume."""
    protocol = Protocol(annotations.get("protocol", Protocol.REST))
    ours = {row.name: annotations[row.key] for row in ANNOTATIONS if row.key in annotations}
    model = {
        "modelFormat": {"name": "triton"},
        "protocolVersion": PROTOCOL_VERSION[protocol],
        "runtime": next(name for name, made_for in CLUSTER_RUNTIMES.items() if made_for == (protocol, Mode.KNATIVE)),
        "storageUri": storage_uri,
    }
    service = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "annotations": {MODE_ANNOTATION: Mode.KNATIVE.value} | ours},
        "spec": {"predictor": {"model": model}},
    }
    return f"# yaml-language-server: $schema={SCHEMA_FILE}\n{to_yaml(service)}"


def _config(model: str, kind: ModelFormat, signature: Signature, max_batch_size: int) -> str:
    """The smallest config.pbtxt."""
    config = described(model, signature, max_batch_size)
    config.backend, config.platform = kind.backend, kind.platform
    return format_config(config)


def described(model: str, signature: Signature, max_batch_size: int) -> ModelConfig:
    """A config with name, tensors and batch size. A row without dimensions is a 1 on the wire: Triton takes no empty `dims`."""
    config = parse_config("")
    config.name = model
    config.max_batch_size = max_batch_size if signature.batchable else 0
    for entries, tensors in ((config.input, signature.inputs), (config.output, signature.outputs)):
        for tensor in tensors:
            entry = entries.add(name=tensor.name, data_type=tensor.datatype, dims=tensor.dims or (1,))
            if not tensor.dims:
                entry.reshape.SetInParent()
    return config
