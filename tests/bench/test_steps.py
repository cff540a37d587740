from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kserve_ext.bench.payload import Sample
from kserve_ext.bench.steps import step_samples
from kserve_ext.bench.tensor import Tensor
from kserve_ext.errors import ModelError
from kserve_ext.render.pbtxt import parse_config

ENSEMBLE = """
name: "whole" platform: "ensemble"
ensemble_scheduling {
  step [
    { model_name: "double" input_map { key: "in" value: "x" } output_map { key: "out" value: "twice" } },
    { model_name: "add" input_map { key: "a" value: "twice" } input_map { key: "b" value: "x" }
      output_map { key: "sum" value: "y" } }
  ]
}
"""


def _sample(value: float) -> Sample:
    return Sample(inputs=(Tensor(name="x", datatype="FP32", data=np.array([[value]], np.float32)),))


def _ask(model: str, samples: Sequence[Sample]) -> list[tuple[Tensor, ...]]:
    values = [sum(float(tensor.data.item()) for tensor in sample.inputs) for sample in samples]
    name, factor = {"double": ("out", 2), "add": ("sum", 1)}[model]
    return [(Tensor(name=name, datatype="FP32", data=np.array([[value * factor]])),) for value in values]


def test_each_step_gets_what_the_steps_before_it_give() -> None:
    found = step_samples(parse_config(ENSEMBLE), [_sample(1), _sample(5)], _ask)
    assert {
        model: [{tensor.name: tensor.data.item() for tensor in sample.inputs} for sample in samples]
        for model, samples in found.items()
    } == {"double": [{"in": 1}, {"in": 5}], "add": [{"a": 2, "b": 1}, {"a": 10, "b": 5}]}


def test_a_tensor_that_nobody_gives_is_named() -> None:
    config = parse_config(ENSEMBLE.replace('value: "twice" } input_map', 'value: "thrice" } input_map'))
    with pytest.raises(ModelError, match="step add needs a tensor that no earlier step gives; found thrice"):
        step_samples(config, [_sample(1)], _ask)
