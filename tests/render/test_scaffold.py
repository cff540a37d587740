from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.errors import ManifestError, ModelError
from kserve_ext.intent import intent_schema, intent_schema_text, read_services
from kserve_ext.render.pbtxt import backend, parse_config
from kserve_ext.render.scaffold import FORMATS, Scaffold, model_format, scaffold
from kserve_ext.render.tensors import DATATYPES, Signature, TensorShape, parse_signature

ANNOTATIONS = {"slo-p99": "60ms", "rate": "20..200rps"}
IMAGES = Signature(
    inputs=(TensorShape(name="image", datatype="TYPE_FP32", dims=(3, 224, -1)),),
    outputs=(TensorShape(name="label", datatype="TYPE_INT64", dims=()),),
    batchable=True,
)


def made(**changes: Any) -> Scaffold:
    given: dict[str, Any] = {
        "name": "cats",
        "kind": model_format("cats.onnx"),
        "signature": IMAGES,
        "annotations": ANNOTATIONS,
    }
    return scaffold(**(given | changes))


def test_the_manifest_is_a_service_that_reads_back_as_asked() -> None:
    text = made(annotations=ANNOTATIONS | {"hardware": "gpu", "protocol": "grpc"}).files["manifests/cats.yaml"]
    (service,) = read_services(text, "manifests/cats.yaml")
    intent = service.intent
    assert (intent.name, intent.model, intent.protocol, intent.hardware) == ("cats", "cats", "grpc", ("gpu",))
    assert (intent.slo.p99_s, intent.rate.low_rps, intent.rate.high_rps) == (0.06, 20, 200)
    assert service.manifest["spec"]["predictor"]["model"]["protocolVersion"] == "grpc-v2"
    jsonschema.Draft202012Validator(intent_schema()).validate(yaml.safe_load(text))


def test_the_manifest_names_the_schema_that_is_written_beside_it() -> None:
    files = made().files
    assert files["manifests/cats.yaml"].startswith("# yaml-language-server: $schema=intent.schema.json\n")
    assert files["manifests/intent.schema.json"] == intent_schema_text()


def test_the_config_has_the_tensors_of_the_model_and_nothing_tuned() -> None:
    text = made().files["model_repo/cats/config.pbtxt"]
    config = parse_config(text)
    assert (config.name, config.backend, config.max_batch_size) == ("cats", "onnxruntime", 32)
    assert [(entry.name, list(entry.dims)) for entry in config.input] == [("image", [3, 224, -1])]
    assert not config.instance_group
    assert not config.HasField("dynamic_batching")


def test_a_row_without_dimensions_is_a_one_on_the_wire() -> None:
    (output,) = parse_config(made().files["model_repo/cats/config.pbtxt"]).output
    assert (list(output.dims), output.HasField("reshape"), list(output.reshape.shape)) == ([1], True, [])


def test_a_model_that_cannot_be_batched_gets_0() -> None:
    config = parse_config(made(signature=replace(IMAGES, batchable=False)).files["model_repo/cats/config.pbtxt"])
    assert config.max_batch_size == 0


@pytest.mark.parametrize(
    ("file_name", "backend_name", "target"),
    [
        ("a.onnx", "onnxruntime", "model.onnx"),
        ("a.pt", "pytorch", "model.pt"),
        ("a.PTH", "pytorch", "model.pt"),
        ("a.savedmodel", "tensorflow", "model.savedmodel"),
        ("a.plan", "tensorrt", "model.plan"),
        ("a.engine", "tensorrt", "model.plan"),
        ("a.xml", "openvino", "model.xml"),
        ("a.py", "python", "model.py"),
    ],
)
def test_a_file_name_tells_the_backend(file_name: str, backend_name: str, target: str) -> None:
    kind = model_format(file_name)
    assert (kind.backend, kind.file_name) == (backend_name, target)
    config = parse_config(made(kind=kind).files["model_repo/cats/config.pbtxt"])
    assert backend(config) == backend_name


@pytest.mark.parametrize("file_name", ["a.h5", "a", "onnx", "a.onnx.zip"])
def test_another_format_is_refused_with_those_that_are_served(file_name: str) -> None:
    with pytest.raises(ModelError, match=r"\.onnx, \.pt, .*SavedModel"):
        model_format(file_name)


@pytest.mark.parametrize(
    ("file_name", "said"),
    [
        ("a.pt", "OUTPUT__0"),
        ("a.savedmodel", "25.02"),
        ("a.plan", "the GPU model that built it"),
        ("a.xml", ".bin"),
    ],
)
def test_what_a_person_should_know_of_a_format_is_a_note(file_name: str, said: str) -> None:
    (note,) = made(kind=model_format(file_name)).notes
    assert said in note


def test_tensorflow_is_told_which_of_its_two_formats_it_is() -> None:
    config = parse_config(made(kind=model_format("a.savedmodel")).files["model_repo/cats/config.pbtxt"])
    assert config.platform == "tensorflow_savedmodel"


def test_a_place_elsewhere_keeps_the_models_own_folder_name() -> None:
    new = made(storage_uri="gs://bucket/released/v7")
    (service,) = read_services(new.files["manifests/cats.yaml"], "m.yaml")
    assert service.intent.model == "cats"
    assert service.manifest["spec"]["predictor"]["model"]["storageUri"] == "gs://bucket/released/v7"


def test_the_model_annotation_names_the_folder() -> None:
    new = made(annotations=ANNOTATIONS | {"model": "cats_v2"})
    assert set(new.files) == {
        "manifests/cats.yaml",
        "manifests/intent.schema.json",
        "model_repo/cats_v2/config.pbtxt",
    }
    assert new.weights_folder == "model_repo/cats_v2/1"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Cats"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "../etc"}, "name"),
        ({"annotations": {"rate": "20rps"}}, "slo-p99"),
        ({"annotations": {"slo-p99": "fast", "rate": "20rps"}}, "slo-p99"),
        ({"annotations": {"slo-p99": "60ms", "rate": "9..2rps"}}, "rate"),
        ({"annotations": ANNOTATIONS | {"hardwear": "cpu"}}, "hardwear"),
        ({"annotations": ANNOTATIONS | {"model": "../../etc"}}, "model"),
        ({"max_batch_size": 0}, "max-batch-size"),
    ],
)
def test_what_would_not_read_back_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ManifestError) as caught:
        made(**changes)
    assert [problem.field for problem in caught.value.problems] == [field]


# ------------------------------------------------------------------------------------------------ tensors as text

names = st.text(st.characters(codec="ascii", exclude_categories=["Cc", "Z"]), min_size=1, max_size=10)
tensors = st.builds(
    TensorShape,
    name=names,
    datatype=st.sampled_from(DATATYPES),
    dims=st.lists(st.integers(1, 10**6) | st.just(-1), min_size=1, max_size=4).map(tuple),
)


@given(tensors)
def test_a_tensor_written_as_text_reads_back(tensor: TensorShape) -> None:
    text = f"{tensor.name}:{tensor.datatype.removeprefix('TYPE_')}:{'x'.join(map(str, tensor.dims))}"
    signature = parse_signature([text], [text])
    assert signature == Signature(inputs=(tensor,), outputs=(tensor,), batchable=True)


@given(st.text(max_size=20))
def test_any_text_is_a_tensor_or_a_model_error(text: str) -> None:
    try:
        signature = parse_signature([text], ["y:FP32:1"])
    except ModelError:
        return
    assert all(tensor.datatype in DATATYPES and tensor.dims for tensor in signature.inputs)


def test_tensorflow_names_and_protocol_datatypes_are_taken() -> None:
    signature = parse_signature(["text:0:BYTES:1"], ["y:type_fp16:-1x4"])
    assert (signature.inputs[0].name, signature.inputs[0].datatype) == ("text:0", "TYPE_STRING")
    assert signature.outputs[0] == TensorShape(name="y", datatype="TYPE_FP16", dims=(-1, 4))


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ([], ["y:FP32:1"], "--input: this kind of file does not tell its tensors"),
        (["x:FP32:1"], [], "--output: this kind of file does not tell its tensors"),
        (["x"], ["y:FP32:1"], "--input: not a tensor; found 'x'"),
        ([":FP32:3"], ["y:FP32:1"], "--input: not a tensor"),
        (["x:FLOAT:3"], ["y:FP32:1"], "--input: unknown datatype of `x`; found 'FLOAT'"),
        (["x:FP32:3x0"], ["y:FP32:1"], "--input: no dimensions of `x`; found '3x0'"),
        (["x:FP32:3,4"], ["y:FP32:1"], "--input: no dimensions of `x`"),
        (["x:FP32:"], ["y:FP32:1"], "--input: no dimensions of `x`"),
        (["x:FP32:1", "x:FP32:2"], ["y:FP32:1"], "--input: a name given twice; found x"),
    ],
)
def test_text_that_is_no_tensor_is_told_with_its_option(inputs: list[str], outputs: list[str], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_signature(inputs, outputs)
    assert str(caught.value).startswith(said)


def test_every_fault_of_every_tensor_is_told() -> None:
    with pytest.raises(ModelError) as caught:
        parse_signature(["x", "y:FOO:1"], ["z:FP32:0"])
    assert len(caught.value.problems) == 3


def test_no_two_formats_share_a_suffix() -> None:
    suffixes = [kind.suffix for kind in FORMATS]
    assert len(set(suffixes)) == len(suffixes)
