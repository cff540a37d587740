"""What the steps of an ensemble get to see: the service's own samples, followed from step to step.

In: the ensemble's config and samples. Out: samples for each step model. Every step must be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from kserve_ext.bench.payload import Sample
from kserve_ext.bench.tensor import Tensor
from kserve_ext.errors import ModelError, Problem

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

Ask = Callable[[str, Sequence[Sample]], Sequence[tuple[Tensor, ...]]]  # model and samples to outputs


def step_samples(config: ModelConfig, samples: Sequence[Sample], ask: Ask) -> Mapping[str, tuple[Sample, ...]]:
    """Samples by step model: what each gets when the ensemble is asked `samples`.

    Raises ModelError when a step wants a tensor that no earlier step gives; Triton would refuse such an ensemble too.
    """
    known = [{tensor.name: tensor for tensor in sample.inputs} for sample in samples]
    found: dict[str, tuple[Sample, ...]] = {}
    for step in config.ensemble_scheduling.step:
        name = str(step.model_name)
        inputs = tuple(_inputs(dict(step.input_map), tensors, name) for tensors in known)
        found.setdefault(name, inputs)
        for tensors, outputs in zip(known, ask(name, inputs), strict=True):
            tensors.update({str(step.output_map[tensor.name]): tensor for tensor in outputs})
    return found


def _inputs(input_map: Mapping[str, str], tensors: Mapping[str, Tensor], step: str) -> Sample:
    missing = [tensor for tensor in input_map.values() if tensor not in tensors]
    if missing:
        what = f"step {step} needs a tensor that no earlier step gives"
        raise ModelError(Problem(field="ensemble_scheduling", what=what, found=", ".join(missing)))
    return Sample(
        inputs=tuple(
            Tensor(name=name, datatype=tensors[source].datatype, data=tensors[source].data)
            for name, source in sorted(input_map.items())
        )
    )
