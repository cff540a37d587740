"""A burst at one replica that is slow to answer: exactly what is beyond limit and queue must be refused."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.queue_proxy.rig import proxied
from benchmarks.queue_proxy.spread import run_spread
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import run_closed_loop
from kserve_ext.bench.samples import read_samples
from kserve_ext.hosting import hosted
from kserve_ext.simulate.kpa.path import queue_depth
from kserve_ext.simulate.path import Balancing

REFUSED = "HTTP 503"
_MODEL = "emulated"
_LIMIT, _BEYOND = 4, 16
_SLOWER = 20.0  # 0.1 s for one row: the first answer comes after the last request was sent


def run_burst(binary: Path, repository: Path) -> tuple[int, int]:
    """Refusals, expected and seen."""
    depth = queue_depth(_LIMIT) or 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        slow = _slowed(repository / _MODEL, folder / "models")
        host = stack.enter_context(hosted(slow, _MODEL, log_file=folder / "triton.log"))
        host.load_untuned()
        target = stack.enter_context(proxied(binary, host, _LIMIT, folder / "proxy.log"))
        requests = [encode(sample, target) for sample in read_samples(slow, _MODEL)]
        run_closed_loop(target, requests, 1, 0.5)
        seen = run_spread([target], requests, np.zeros(_LIMIT + depth + _BEYOND), Balancing.ROUND_ROBIN, seed=0).load
    refused = seen.errors.get(REFUSED, 0)
    print(f"burst of {seen.ok.size} on limit {_LIMIT} and queue {depth}: {_BEYOND}/{refused} refused", flush=True)
    return _BEYOND, refused


def _slowed(model: Path, repository: Path) -> Path:
    """A repository with a copy of the emulated model that takes `_SLOWER` times as long."""
    shutil.copytree(model, repository / model.name)
    curve = repository / model.name / "1" / "curve.json"
    content = json.loads(curve.read_text(encoding="utf-8"))
    content["points"] = [[rows, _SLOWER * seconds] for rows, seconds in content["points"]]
    curve.write_text(json.dumps(content), encoding="utf-8")
    return repository
