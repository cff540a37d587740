"""A model of a repository served by an embedded Triton on this machine, planned or untuned, with its neighbours.

The repository is staged into a temporary folder and never touched. Instances run on the CPU whatever hardware the
plan is for; a model that emulates a device brings its latency along.
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kserve_ext.domain import Protocol, StagePlan
from kserve_ext.render.pbtxt import is_ensemble, steps, untuned_config
from kserve_ext.render.planned import planned_config, planned_ensemble
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.find import find_server
from kserve_ext.triton.repository import read_config, stage, with_steps
from kserve_ext.triton.server import TritonServer

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A running server with one model of a repository staged on it; nothing is loaded yet."""

    server: TritonServer
    control: TritonControl
    repository: Path
    model: str
    models: tuple[str, ...]  # the model's steps first, then the model
    neighbours: tuple[str, ...] = ()  # further models with their steps, in the same order

    def url(self, protocol: Protocol) -> str:
        """The server's address for one protocol, as the load generator takes it."""
        if protocol is Protocol.GRPC:
            return f"grpc://{self.server.grpc_url}"
        return f"http://{self.server.http_url}"

    def load_planned(self, stages: Sequence[StagePlan]) -> None:
        """Serve the model, and its neighbours, as the plan's stages say."""
        by_model = {stage.model: stage for stage in stages}

        def configure(base: ModelConfig) -> ModelConfig:
            if is_ensemble(base):
                return planned_ensemble(base, [by_model[step] for step in steps(base)])
            return planned_config(base, by_model[base.name])

        self._load(configure)

    def load_untuned(self) -> None:
        """Serve the model as people start: no batching, one instance of each step."""
        self._load(lambda base: base if is_ensemble(base) else untuned_config(base))

    def counters(self) -> tuple[int, int]:
        """Rows inferred and executions so far, of the last step before an ensemble, or of the model itself."""
        counted = self.models[-2] if len(self.models) > 1 else self.model
        statistics = self.control.statistics(counted)
        return statistics.inference_count, statistics.execution_count

    def _load(self, configure: Callable[[ModelConfig], ModelConfig]) -> None:
        names = (*self.models, *self.neighbours)
        for name in reversed(names):
            if self.control.ready(name):
                self.control.unload(name)
        for name in reversed(names):  # an ensemble first: it brings its steps along as their files say
            base = read_config(self.repository, name)
            base.name = name
            self.control.load(name, configure(base))


@contextlib.contextmanager
def hosted(
    repository: Path, model: str, *neighbours: str, log_file: Path, http_port: int | None = None,
    grpc_port: int | None = None,
) -> Iterator[Hosted]:  # fmt: skip
    """A server with `model`, its neighbours and their steps staged, stopped at the end. Raises ModelError, TritonError."""
    models = with_steps(repository, model)
    beside = tuple(dict.fromkeys(name for other in neighbours for name in with_steps(repository, other)))
    install = find_server()
    with tempfile.TemporaryDirectory(prefix="kserve-ext-") as folder:
        staged = Path(folder) / "models"
        stage(repository, staged, (*models, *beside), install.backends)
        with TritonServer(
            staged, log_file=log_file, install=install, http_port=http_port, grpc_port=grpc_port
        ) as server:
            yield Hosted(
                server=server, control=TritonControl.of(server), repository=repository, model=model, models=models,
                neighbours=beside,
            )  # fmt: skip


def until_stopped(host: Hosted, *, poll_s: float = 1.0) -> None:
    """Return when Ctrl-C or SIGTERM asks this process to stop. Raises TritonError when the server dies before."""
    stopped = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not stopped.wait(poll_s):
            host.server.check_alive()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
