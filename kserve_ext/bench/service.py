"""A model and its ensemble steps on one server: loaded as a whole or step by step, checked, and given samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kserve_ext.bench.payload import Sample, TensorSpec, generate_samples, stack
from kserve_ext.bench.steps import step_samples
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.bench.tensor import Tensor
from kserve_ext.bench.verify import ask, check_answers
from kserve_ext.domain import Protocol
from kserve_ext.render.pbtxt import is_ensemble, with_batching
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.repository import read_config, with_steps
from kserve_ext.triton.server import TritonServer


class Service:
    """One model of a repository that is staged on `server`."""

    def __init__(
        self, server: TritonServer, control: TritonControl, repository: Path, model: str, max_batch: int | None
    ) -> None:
        self.server = server
        self.control = control
        self.model = model
        self.models = with_steps(repository, model)  # steps first
        self.configs = {name: read_config(repository, name) for name in self.models}
        for name, config in self.configs.items():
            config.name = name
            config.max_batch_size = min(config.max_batch_size, max_batch or config.max_batch_size)

    @property
    def stages(self) -> tuple[str, ...]:
        """The models that run something, in order."""
        return tuple(name for name in self.models if not is_ensemble(self.configs[name]))

    def target(self, model: str, protocol: Protocol = Protocol.REST) -> Target:
        """The address of one model."""
        url = self.server.http_url if protocol is Protocol.REST else self.server.grpc_url
        return parse_target(url, model=model, protocol=protocol)

    def unload(self) -> None:
        """Unload all of it, what uses a step before the step."""
        for name in reversed(self.models):
            if self.control.ready(name):
                self.control.unload(name)

    def load(self) -> float:
        """Load all of it with one instance each and the dynamic batcher on, as it is deployed. Seconds until ready."""
        return sum(
            self.control.load(
                name,
                with_batching(config, max_batch_size=config.max_batch_size, max_queue_delay_s=0.0, instances=1),
            )
            for name, config in self.configs.items()
        )

    def check(self, samples: Sequence[Sample]) -> Mapping[str, tuple[Sample, ...]]:
        """Samples for the model and each step; the service must be loaded. Made from metadata when none are given.

        Raises ModelError for answers that cannot be right, InputError where samples cannot be made.
        """
        metadata = self.control.metadata(self.model)
        if not samples:
            specs = [TensorSpec(name=s.name, datatype=s.datatype, shape=s.shape) for s in metadata.inputs]
            samples = generate_samples(specs, batched=metadata.max_batch_size > 0)
        if metadata.max_batch_size > 0:
            stack(samples, 1)  # a sample of several rows would pass for a batch of one
        check_answers(self.target(self.model), samples, outputs=[output.name for output in metadata.outputs])
        found = {self.model: tuple(samples)}
        for name in reversed(self.models):  # an ensemble before its steps
            if is_ensemble(self.configs[name]):
                found |= step_samples(self.configs[name], found[name], self._ask)
        return found

    def _ask(self, model: str, samples: Sequence[Sample]) -> Sequence[tuple[Tensor, ...]]:
        return ask(self.target(model), samples)
