"""Train the digits network and write it as ONNX: `python train.py FOLDER` writes FOLDER/model.onnx.

A 512-wide network is trained first, then widened to 3584 (every unit copied, plus noise) and trained end to end
again, which takes a third of the time of training it wide from the start. It is wide on purpose:
103 MB of weights are read for every batch, whatever its size, as on a GPU, so batching pays on a CPU.
Same bytes on every run on one machine when OPENBLAS_NUM_THREADS is the same, as `model_repo/build.py` sees to.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 20
HELD_OUT = 360  # of 1797 images: never trained on
ACCURACY_FLOOR = 0.975  # on the held-out images; below it nothing is written
PIXEL_MAX = 16.0
NARROW, WIDE, HIDDEN_LAYERS = 512, 3584, 3
SHIFT_SHARE = 0.3  # of the training images are moved by up to one pixel in each direction
NOISE = 0.5  # of a layer's standard deviation, added when widening: the copies must not stay equal
MOMENTUM = np.float32(0.9)
ROWS = 256  # of a weight matrix updated at a time: gradient, velocity and weights stay in the processor's cache
OPSET, IR_VERSION = 17, 8  # LTS range: read by every onnxruntime since 1.12

Array = NDArray[np.float32]
Layer = tuple[Array, Array]  # weights [inputs, outputs], bias [outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Images [n, 64] with pixels 0..16, and what they show, 0..9."""

    images: Array
    labels: NDArray[np.int64]


def split() -> tuple[Digits, Digits]:
    """The training images and the held-out ones, the same on every call."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(images))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    return _digits(images, labels, training), _digits(images, labels, held_out)


def _digits(images: Any, labels: Any, chosen: NDArray[np.int64]) -> Digits:
    return Digits(images=images[chosen].astype(np.float32), labels=labels[chosen].astype(np.int64))


def fit(training: Digits) -> list[Layer]:
    """The trained layers of the wide network."""
    random = np.random.default_rng(SEED + 1)
    layers = _descend(_initial(random), training, random, epochs=30, batch=64, rate=0.1)
    return _descend(_widened(layers, random), training, random, epochs=2, batch=128, rate=0.1)


def accuracy(layers: list[Layer], digits: Digits) -> float:
    """Share of the images whose highest score is at their label."""
    scores = _forward(layers, digits.images / np.float32(PIXEL_MAX))[-1]
    return float((scores.argmax(axis=1) == digits.labels).mean())


def _initial(random: np.random.Generator) -> list[Layer]:
    sizes = (64, *[NARROW] * HIDDEN_LAYERS, 10)
    return [
        (random.standard_normal(shape, dtype=np.float32) * np.float32((2 / shape[0]) ** 0.5), np.zeros(shape[1], "f4"))
        for shape in itertools.pairwise(sizes)
    ]


def _widened(layers: list[Layer], random: np.random.Generator) -> list[Layer]:
    """Every hidden unit `copies` times, each copy with its share of the outgoing weight: the function is the same."""
    copies, last = WIDE // NARROW, len(layers) - 1
    wide = []
    for index, (weights, bias) in enumerate(layers):
        inputs, outputs = (1 if index == 0 else copies), (1 if index == last else copies)
        tiled = np.tile(weights, (inputs, outputs)) / np.float32(inputs)
        tiled += np.float32(NOISE * tiled.std()) * random.standard_normal(tiled.shape, dtype=np.float32)
        wide.append((tiled, np.tile(bias, outputs)))
    return wide


def _forward(layers: list[Layer], inputs: Array) -> list[Array]:
    """The input and every layer's output; the last one is the scores before softmax."""
    outputs = [inputs]
    for index, (weights, bias) in enumerate(layers):
        output = outputs[-1] @ weights + bias
        outputs.append(output if index == len(layers) - 1 else np.maximum(output, 0))
    return outputs


def _descend(
    layers: list[Layer], training: Digits, random: np.random.Generator, *, epochs: int, batch: int, rate: float
) -> list[Layer]:
    """Stochastic gradient descent with momentum and a rate that falls to zero; changes `layers` in place."""
    velocities = [(np.zeros_like(weights), np.zeros_like(bias)) for weights, bias in layers]
    batches = len(training.labels) // batch
    for step in range(epochs * batches):
        if step % batches == 0:
            order = random.permutation(len(training.labels))
        chosen = order[step % batches * batch :][:batch]
        images = _shifted(training.images[chosen], random) / np.float32(PIXEL_MAX)
        now = np.float32(rate * (1 - step / (epochs * batches)))
        _step(layers, velocities, images, training.labels[chosen], now)
    return layers


def _step(
    layers: list[Layer], velocities: list[Layer], images: Array, labels: NDArray[np.int64], rate: np.float32
) -> None:
    outputs = _forward(layers, images)
    error = _softmax(outputs[-1])
    error[np.arange(len(labels)), labels] -= 1
    error *= rate / np.float32(len(labels))
    for index in reversed(range(len(layers))):
        (weights, bias), (velocity, bias_velocity) = layers[index], velocities[index]
        below = (error @ weights.T) * (outputs[index] > 0) if index else error
        for start in range(0, len(weights), ROWS):
            rows = slice(start, start + ROWS)
            velocity[rows] *= MOMENTUM
            velocity[rows] -= outputs[index][:, rows].T @ error
            weights[rows] += velocity[rows]
        bias_velocity *= MOMENTUM
        bias_velocity -= error.sum(axis=0)
        bias += bias_velocity
        error = below


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _shifted(images: Array, random: np.random.Generator) -> Array:
    framed = np.zeros((len(images), 10, 10), np.float32)
    framed[:, 1:9, 1:9] = images.reshape(-1, 8, 8)
    moves = random.integers(0, 3, (len(images), 2))
    moves[random.random(len(images)) >= SHIFT_SHARE] = 1  # the middle: not moved
    moved = [frame[down : down + 8, right : right + 8] for frame, (down, right) in zip(framed, moves, strict=True)]
    rows: Array = np.stack(moved).reshape(-1, 64)
    return rows


def as_onnx(layers: list[Layer]) -> bytes:
    """The network as an ONNX file: image [n, 64], pixels 0..16, to scores [n, 10] (softmax) and label [n, 1]."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes = [helper.make_node("Div", ["image", "pixel_max"], ["layer_0"])]
    constants = [numpy_helper.from_array(np.array(PIXEL_MAX, np.float32), "pixel_max")]
    for index, (weights, bias) in enumerate(layers):
        constants += [numpy_helper.from_array(weights, f"w{index}"), numpy_helper.from_array(bias, f"b{index}")]
        inputs, output = [f"layer_{index}", f"w{index}", f"b{index}"], f"layer_{index + 1}"
        if index == len(layers) - 1:
            nodes.append(helper.make_node("Gemm", inputs, ["logits"]))
        else:
            nodes.append(helper.make_node("Gemm", inputs, [f"sum_{index}"]))
            nodes.append(helper.make_node("Relu", [f"sum_{index}"], [output]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
    nodes.append(helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 64])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch", 1]),
        ],
        constants,
    )
    model = helper.make_model(graph, producer_name="kserve-ext", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def main(folder: Path) -> None:
    training, held_out = split()
    layers = fit(training)
    found = accuracy(layers, held_out)
    if found < ACCURACY_FLOOR:
        sys.exit(f"held-out accuracy {found:.4f} is below {ACCURACY_FLOOR}: the training went wrong, nothing is kept")
    content = as_onnx(layers)
    (folder / "model.onnx").write_bytes(content)
    print(f"accuracy {found:.4f} on {HELD_OUT} held-out images, {len(content) / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
