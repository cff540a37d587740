"""The example models behind the real Triton: what a client gets is what the models were made to answer."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from kserve_ext.bench.payload import Sample
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.bench.tensor import Array, Tensor
from kserve_ext.bench.verify import ask
from kserve_ext.domain import Protocol
from kserve_ext.render.pbtxt import with_batching
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.repository import read_config, with_steps
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.triton

MINILM = Path(__file__).parents[1] / "data" / "minilm"


@pytest.fixture
def served(request: pytest.FixtureRequest, control: TritonControl, model_repo: Path) -> Iterator[str]:
    """A model, named by the test's parameter, and its steps, loaded with batching on."""
    model: str = request.param
    models = with_steps(model_repo, model)
    for name in models:
        config = read_config(model_repo, name)
        control.load(
            name,
            with_batching(config, max_batch_size=config.max_batch_size, max_queue_delay_s=0.0, instances=1),
        )
    yield model
    for name in reversed(models):
        control.unload(name)


@pytest.mark.parametrize("served", ["digits"], indirect=True)
def test_digits_reads_unseen_digits_through_the_endpoint(served: str, triton: TritonServer, built_models: Path) -> None:
    _, unseen = runpy.run_path(str(built_models / "digits" / "train.py"))["split"]()
    answered = outputs(triton, served, "image", "FP32", unseen.images, "label")
    assert np.mean(answered.ravel() == unseen.labels) >= 0.97


@pytest.mark.parametrize("served", ["embed"], indirect=True)
def test_embed_gives_the_vectors_of_the_package_the_weights_come_from(served: str, triton: TritonServer) -> None:
    sentences: list[str] = json.loads((MINILM / "sentences.json").read_text(encoding="utf-8"))
    texts = np.array([sentence.encode() for sentence in sentences], dtype=object).reshape(-1, 1)
    reference = np.load(MINILM / "reference.npz")
    expected = np.asarray(reference[reference.files[0]], dtype=np.float64)
    answered = np.concatenate(
        [outputs(triton, served, "text", "BYTES", texts[start : start + 10], "embedding") for start in range(0, 50, 10)]
    ).astype(np.float64)
    cosines = (answered * expected).sum(axis=1) / np.linalg.norm(answered, axis=1) / np.linalg.norm(expected, axis=1)
    assert len(sentences) == 50
    assert cosines.min() >= 0.999


@pytest.mark.parametrize("served", ["emulated"], indirect=True)
@pytest.mark.parametrize("protocol", list(Protocol))
def test_emulated_answers_every_row_with_its_own_successor(
    served: str, triton: TritonServer, protocol: Protocol
) -> None:
    rows = np.arange(24, dtype=np.float32).reshape(3, 8)
    answered = outputs(triton, served, "x", "FP32", rows, "y", protocol)
    np.testing.assert_array_equal(answered, rows + 1)


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("served", ["emulated"], indirect=True)
def test_the_instances_of_emulated_take_their_turns_at_the_server_they_belong_to(triton: TritonServer) -> None:
    stubs = psutil.Process(triton.pid).children()
    opened = {link.readlink() for stub in stubs for link in Path(f"/proc/{stub.pid}/fd").iterdir()}
    assert Path(f"/proc/{triton.pid}") in opened


def outputs(
    server: TritonServer,
    model: str,
    name: str,
    datatype: str,
    data: Array,
    wanted: str,
    protocol: Protocol = Protocol.REST,
) -> NDArray[np.generic]:
    """The output `wanted` for all rows of `data`, asked for in requests of at most 32 rows."""
    target = target_of(server, model, protocol)
    samples = [Sample(inputs=(Tensor(name=name, datatype=datatype, data=part),)) for part in parts(data)]
    answers = ask(target, samples)
    return np.concatenate([next(t.data for t in answer if t.name == wanted) for answer in answers])


def parts(data: Array) -> Sequence[Array]:
    return np.array_split(data, -(-len(data) // 32))


def target_of(server: TritonServer, model: str, protocol: Protocol) -> Target:
    url = server.grpc_url if protocol is Protocol.GRPC else server.http_url
    return parse_target(url, model=model, protocol=protocol)
