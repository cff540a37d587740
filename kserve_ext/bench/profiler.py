"""Measures a profile: every point of every stage, on the real server, through the load API.

In: a running server on which the model and its steps are staged, samples, and how long to look. Out: a Profile.
The server is left with nothing loaded. Configs on disk are never touched; finished points survive an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from kserve_ext.bench.codec import encode
from kserve_ext.bench.journal import Journal
from kserve_ext.bench.loop import run_closed_loop
from kserve_ext.bench.payload import Sample, TensorSpec, generate_samples
from kserve_ext.bench.points import Bench, MeasuredPoint, client_point, merged_point
from kserve_ext.bench.steps import step_samples
from kserve_ext.bench.surroundings import cores, host_facts, model_digest, versions
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.bench.verify import ask, check_answers
from kserve_ext.domain import Profile, Protocol, StageProfile
from kserve_ext.errors import UnreachableError
from kserve_ext.profile.points import batch_sizes, quantiles_of, shifted
from kserve_ext.render.pbtxt import is_ensemble, steps, with_batching
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.repository import read_config, with_steps
from kserve_ext.triton.server import TritonServer

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

Progress = Callable[[int, int, str], None]  # points done, points in all, what comes next

SECONDS_PER_POINT = 1.0
MOST_INSTANCES = 4  # measured when the caller does not say
FILL_DELAY_S = 0.1  # longer than a client takes to send any batch; a full batch does not wait
_POINT = TypeAdapter(MeasuredPoint)
