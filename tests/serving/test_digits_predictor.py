from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from kserve_ext.errors import ModelError
from kserve_ext.render.tensors import Signature, TensorShape
from kserve_ext.serving.engine import Engine
from kserve_ext.serving.predictor import Predictor, find_predictor
from kserve_ext.serving.settings import Settings

onnx = pytest.importorskip("onnx")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A model that adds its bias to [n, 3]."""
    bias = onnx.numpy_helper.from_array(np.array([1, 2, 3], np.float32), "bias")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "bias"], ["y"])], "add", [x], [y], [bias])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(model.SerializeToString())
    return tmp_path


@pytest.fixture(autouse=True)
def repository_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def test_an_onnx_file_is_served_in_batches_with_the_signature_it_tells(artifacts: Path) -> None:
    async def main() -> None:
        engine = Engine("digits", find_predictor("predictors.digits:Digits"), artifacts, Settings(max_batch_size=4))
        await engine.start()
        tensor = {name: TensorShape(name=name, datatype="TYPE_FP32", dims=(3,)) for name in "xy"}
        assert engine.signature == Signature(inputs=(tensor["x"],), outputs=(tensor["y"],), batchable=True)
        rows = [{"x": np.full((1, 3), number, np.float32)} for number in range(6)]
        answers = await asyncio.gather(*map(engine.submit, rows))
        engine.stop()
        assert [answer["y"].tolist() for answer in answers] == [[[n + 1, n + 2, n + 3]] for n in range(6)]

    asyncio.run(main())


def test_a_folder_without_one_model_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not one model file"):
        find_predictor("predictors.digits:Digits")().load(tmp_path)


def test_a_predictor_without_a_signature_of_its_own_takes_it_from_the_file(artifacts: Path) -> None:
    signature = Predictor().signature(artifacts / "1")
    assert signature is not None
    assert [tensor.name for tensor in signature.inputs] == ["x"]
    batch = Predictor().warmup(2, signature)
    assert batch is not None
    assert batch["x"].shape == (2, 3)
