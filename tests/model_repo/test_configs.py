"""The committed configurations: they parse, agree with the models they name, are untuned, and the samples fit them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

MODELS = ("digits", "embed", "embed_encoder", "embed_tokenizer", "emulated")
ONNX_MODELS = ("digits", "embed_encoder")
TYPES = {"TYPE_FP32": onnx.TensorProto.FLOAT, "TYPE_INT64": onnx.TensorProto.INT64}
DATATYPES = {"TYPE_FP32": "FP32", "TYPE_INT64": "INT64", "TYPE_STRING": "BYTES"}


def config(model_repo: Path, model: str) -> Any:
    return text_format.Parse((model_repo / model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def type_name(tensor: Any) -> str:
    name: str = model_config_pb2.DataType.Name(tensor.data_type)
    return name


def samples(model_repo: Path, model: str) -> Any:
    return json.loads((model_repo / model / "samples.json").read_text(encoding="utf-8"))


def test_every_folder_is_a_model_with_a_config_samples_and_a_readme(model_repo: Path) -> None:
    folders = [entry for entry in model_repo.iterdir() if entry.is_dir() and entry.name != "__pycache__"]
    assert sorted(folder.name for folder in folders) == sorted(MODELS)
    for folder in folders:
        assert {"config.pbtxt", "samples.json", "README.md", "1"} <= {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize("model", MODELS)
def test_a_config_is_named_as_its_folder_and_untuned(model_repo: Path, model: str) -> None:
    found = config(model_repo, model)
    assert found.name == model
    assert not found.HasField("dynamic_batching")
    if found.platform == "ensemble":
        assert not found.instance_group
    else:
        (group,) = found.instance_group
        assert (group.count, group.kind) == (1, model_config_pb2.ModelInstanceGroup.KIND_CPU)


@pytest.mark.parametrize("model", ONNX_MODELS)
def test_a_config_names_the_tensors_of_its_onnx_file(built_models: Path, model: str) -> None:
    found = config(built_models, model)
    assert (found.backend, found.default_model_filename) == ("onnxruntime", "model.onnx")
    assert found.parameters["intra_op_thread_count"].string_value == "1"
    graph = onnx.load(built_models / model / "1" / "model.onnx").graph
    for configured, existing in ((found.input, graph.input), (found.output, graph.output)):
        assert [signature(tensor) for tensor in existing] == [
            (tensor.name, TYPES[type_name(tensor)], [-1, *tensor.dims]) for tensor in configured
        ]


def signature(tensor: Any) -> tuple[str, int, list[int]]:
    kind = tensor.type.tensor_type
    return tensor.name, kind.elem_type, [-1 if axis.dim_param else axis.dim_value for axis in kind.shape.dim]


@pytest.mark.parametrize("model", ONNX_MODELS)
def test_an_onnx_file_is_standard_and_its_first_dimension_is_free(built_models: Path, model: str) -> None:
    file = onnx.load(built_models / model / "1" / "model.onnx")
    onnx.checker.check_model(file, full_check=True)
    assert [imported.domain for imported in file.opset_import] == [""]
    assert all(tensor.type.tensor_type.shape.dim[0].dim_param for tensor in (*file.graph.input, *file.graph.output))


def test_the_ensemble_passes_on_tensors_its_steps_have(model_repo: Path) -> None:
    ensemble = config(model_repo, "embed")
    there = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        model = config(model_repo, step.model_name)
        assert model.max_batch_size >= ensemble.max_batch_size
        wanted = {step.input_map[tensor.name]: (tensor.data_type, list(tensor.dims)) for tensor in model.input}
        assert wanted.items() <= there.items()
        there |= {step.output_map[tensor.name]: (tensor.data_type, list(tensor.dims)) for tensor in model.output}
    assert {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in ensemble.output}.items() <= there.items()


@pytest.mark.parametrize("model", MODELS)
def test_samples_are_single_rows_that_fit_the_config(model_repo: Path, model: str) -> None:
    inputs, requests = config(model_repo, model).input, samples(model_repo, model)
    assert 16 <= len(requests) <= 32
    for request in requests:
        assert [tensor["name"] for tensor in request["inputs"]] == [tensor.name for tensor in inputs]
        for tensor, configured in zip(request["inputs"], inputs, strict=True):
            assert tensor["datatype"] == DATATYPES[type_name(configured)]
            assert tensor["shape"][0] == 1
            assert all(
                size in (dim, size if dim == -1 else dim)
                for size, dim in zip(tensor["shape"][1:], configured.dims, strict=True)
            )
            assert len(tensor["data"]) == np.prod(tensor["shape"])


@pytest.mark.parametrize("model", MODELS)
def test_any_two_samples_can_share_a_batch_and_no_two_are_equal(model_repo: Path, model: str) -> None:
    requests = samples(model_repo, model)
    shapes = {json.dumps([tensor["shape"] for tensor in request["inputs"]]) for request in requests}
    assert len(shapes) == 1
    assert len({json.dumps(request) for request in requests}) == len(requests)


def test_sentences_have_5_to_25_words(model_repo: Path) -> None:
    for request in samples(model_repo, "embed"):
        (text,) = request["inputs"][0]["data"]
        assert 5 <= len(text.split()) <= 25, text


def test_the_committed_samples_are_what_the_script_writes(built_models: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", str(built_models / "samples.py"), str(tmp_path)], check=True)
    written = sorted(path.parent.name for path in tmp_path.glob("*/samples.json"))
    assert written == ["digits", "embed_encoder", "embed_tokenizer", "emulated"]
    for model in written:
        assert samples(tmp_path, model) == samples(built_models, model)
