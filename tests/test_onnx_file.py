from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from kserve_ext.errors import ManifestError, MissingExtraError, ModelError
from kserve_ext.new_service import init_service
from kserve_ext.onnx_file import inspect_onnx
from kserve_ext.render.pbtxt import parse_config
from kserve_ext.render.tensors import TensorShape

ANNOTATIONS = {"slo-p99": "60ms", "rate": "20rps"}
Dims = Sequence[int | str | None] | None


def model(
    *,
    x: Dims = ("batch", 4),
    y: Dims = ("batch", 2),
    x_type: int = TensorProto.FLOAT,
    y_type: int = TensorProto.FLOAT,
) -> Any:
    """x times a weight of 4 by 2 is y."""
    weight = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", x_type, x)],
        [helper.make_tensor_value_info("y", y_type, y)],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def saved(folder: Path, proto: Any) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def problem_of(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        inspect_onnx(path)
    (problem,) = caught.value.problems
    assert problem.file == str(path)
    return str(problem).removeprefix(f"{path}: ")


def test_a_model_tells_its_tensors_and_opset(tmp_path: Path) -> None:
    found = inspect_onnx(saved(tmp_path, model()))
    assert found.inputs == (TensorShape(name="x", datatype="TYPE_FP32", dims=(-1, 4)),)
    assert found.outputs == (TensorShape(name="y", datatype="TYPE_FP32", dims=(-1, 2)),)
    assert (found.batchable, found.opset, found.external_files) == (True, 17, ())
    assert found.signature.inputs[0].dims == (4,)


def test_weights_listed_as_inputs_are_not_inputs(tmp_path: Path) -> None:
    proto = model()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 2]))
    assert [tensor.name for tensor in inspect_onnx(saved(tmp_path, proto)).inputs] == ["x"]


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        ((3, 4), ("batch", 2), "input `x` has a fixed first dimension of 3"),
        (("batch", 4), (1, 2), "output `y` has a fixed first dimension of 1"),
        ((), (), "input `x` is a single value without dimensions"),
    ],
)
def test_a_fixed_batch_dimension_is_told_by_name(tmp_path: Path, x: Dims, y: Dims, why: str) -> None:
    found = inspect_onnx(saved(tmp_path, model(x=x, y=y)))
    assert (found.batchable, found.why) == (False, why)
    assert found.signature.inputs[0].dims == found.inputs[0].dims


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"<html></html>", b"PK\x03\x04", b"\x00" * 100, b"version https://x\n"]
)
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert "not an ONNX file" in problem_of(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, len(model().SerializeToString()) - 1))
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(model().SerializeToString()[:length])
    assert "cut off" in problem_of(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(model().SerializeToString()) - 1), byte=st.integers(0, 255))
def test_a_damaged_byte_is_read_or_refused_and_never_a_traceback(tmp_path: Path, at: int, byte: int) -> None:
    content = bytearray(model().SerializeToString())
    content[at] = byte
    path = tmp_path / "damaged.onnx"
    path.write_bytes(bytes(content))
    try:
        found = inspect_onnx(path)
    except ModelError:
        return
    assert found.inputs
    assert found.outputs


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    content = model().SerializeToString().replace(b"batch", b"b\xfftch").replace(b"\x0a\x01y", b"\x0a\x01\xff")
    (tmp_path / "model.onnx").write_bytes(content)
    assert problem_of(tmp_path / "model.onnx") == "a name that is not UTF-8; found b'\\xff'"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "cannot be read" in problem_of(tmp_path / "none.onnx")
    assert "cannot be read" in problem_of(tmp_path)


def test_a_model_without_inputs_or_outputs_is_refused(tmp_path: Path) -> None:
    proto = model()
    del proto.graph.input[:]
    assert problem_of(saved(tmp_path, proto)) == "no inputs"
    proto = model()
    del proto.graph.output[:]
    assert problem_of(saved(tmp_path, proto)) == "no outputs"


def test_a_datatype_that_triton_lacks_is_told(tmp_path: Path) -> None:
    said = problem_of(saved(tmp_path, model(x_type=TensorProto.COMPLEX64)))
    assert said.startswith("input `x` has a datatype Triton lacks; found COMPLEX64; allowed: FLOAT")


def test_an_output_that_is_no_tensor_is_told(tmp_path: Path) -> None:
    proto = model()
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None))
    assert problem_of(saved(tmp_path, proto)) == "output `y` is not a tensor; found sequence; allowed: a tensor"


def test_an_output_without_a_shape_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="output `y` has no shape") as caught:
        inspect_onnx(saved(tmp_path, model(y=None)))
    assert "infer_shapes" in caught.value.remedy


# ------------------------------------------------------------------------------------------------- external data


def saved_with_external_data(folder: Path, location: str = "weights.bin") -> Path:
    path = folder / "model.onnx"
    onnx.save(model(), path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_weights_in_another_file_are_told(tmp_path: Path) -> None:
    assert inspect_onnx(saved_with_external_data(tmp_path)).external_files == ("weights.bin",)


def test_missing_weights_are_told_by_file(tmp_path: Path) -> None:
    path = saved_with_external_data(tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert problem_of(path).startswith(f"its weights are missing: {tmp_path / 'weights.bin'}")


def test_weights_cut_off_are_told_with_their_size(tmp_path: Path) -> None:
    path = saved_with_external_data(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"1234")
    assert problem_of(path).endswith("found 4 bytes; allowed: at least 32")


@pytest.mark.parametrize("location", ["../weights.bin", "/weights.bin", ""])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    path = saved_with_external_data(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = location
    assert "weights outside the model's folder" in problem_of(saved(tmp_path, proto))


def test_a_damaged_offset_is_refused(tmp_path: Path) -> None:
    path = saved_with_external_data(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].external_data.add(key="offset", value="far")
    assert "offset" in problem_of(saved(tmp_path, proto))


def test_without_the_onnx_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, model())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError) as caught:
        inspect_onnx(path)
    assert caught.value.remedy == "pip install 'kserve-ext[triton]'"


# ------------------------------------------------------------------------------------------------- a new service


def test_an_onnx_file_becomes_a_service_with_all_its_files(tmp_path: Path) -> None:
    path = saved_with_external_data(tmp_path).rename(tmp_path / "My_Digits.v2.onnx")
    new = init_service(path, annotations=ANNOTATIONS)
    assert new.name == "my-digits-v2"
    assert new.copies == {
        "model_repo/my-digits-v2/1/model.onnx": path,
        "model_repo/my-digits-v2/1/weights.bin": tmp_path / "weights.bin",
    }
    config = parse_config(new.files["model_repo/my-digits-v2/config.pbtxt"])
    assert (config.max_batch_size, list(config.input[0].dims)) == (32, [4])
    assert new.notes == ()


def test_a_fixed_batch_dimension_is_a_note_and_switches_batching_off(tmp_path: Path) -> None:
    new = init_service(saved(tmp_path, model(x=(3, 4))), annotations=ANNOTATIONS, name="fixed")
    assert new.notes == ("batching is off: input `x` has a fixed first dimension of 3",)
    config = parse_config(new.files["model_repo/fixed/config.pbtxt"])
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [3, 4])


def test_shapes_for_an_onnx_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"an \.onnx file tells its tensors itself"):
        init_service(saved(tmp_path, model()), annotations=ANNOTATIONS, inputs=["x:FP32:4"])


def test_a_saved_model_is_a_folder_under_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    new = init_service(folder, annotations=ANNOTATIONS, inputs=["x:FP32:4"], outputs=["y:FP32:2"])
    assert new.copies == {"model_repo/export/1/model.savedmodel": folder}


def test_openvino_brings_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.xml"
    path.touch()
    shapes: Any = {"inputs": ["x:FP32:4"], "outputs": ["y:FP32:2"]}
    with pytest.raises(ModelError, match=r"net\.bin: there is no such file"):
        init_service(path, annotations=ANNOTATIONS, **shapes)
    (tmp_path / "net.bin").touch()
    new = init_service(path, annotations=ANNOTATIONS, **shapes)
    assert new.copies["model_repo/net/1/model.bin"] == tmp_path / "net.bin"


def test_a_model_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        init_service(tmp_path / "a.pt", annotations=ANNOTATIONS, inputs=["x:FP32:4"], outputs=["y:FP32:2"])


def test_a_file_without_a_usable_name_asks_for_one(tmp_path: Path) -> None:
    path = saved(tmp_path, model()).rename(tmp_path / "7.onnx")
    with pytest.raises(ManifestError, match="not a name for a service"):
        init_service(path, annotations=ANNOTATIONS)
