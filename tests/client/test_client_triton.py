"""Both clients over both protocols ask a real Triton, and get what Triton's own client gets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_ext.bench.tensor import Array
from kserve_ext.client import (
    AsyncClient,
    Balance,
    Client,
    Metadata,
    NotFoundError,
    RefusedError,
    Rule,
    UnavailableError,
)
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.triton
IMAGES = np.random.default_rng(1).random((3, 64), np.float32)
README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, triton: TritonServer) -> str:
    address = triton.http_url if request.param == "http" else triton.grpc_url
    return f"{request.param}://{address}"


@pytest.fixture(scope="module")
def digits(triton: TritonServer) -> Iterator[str]:
    control = TritonControl.of(triton)
    control.load("digits")
    yield "digits"
    control.unload("digits")


@pytest.fixture(scope="module")
def embed(triton: TritonServer) -> Iterator[str]:
    control, models = TritonControl.of(triton), ("embed_tokenizer", "embed_encoder", "embed")
    for model in models:
        control.load(model)
    yield models[-1]
    for model in reversed(models):
        control.unload(model)


def ask_metadata(url: str, model: str) -> Metadata:
    with Client(url) as client:
        return client.metadata(model)


def asked_by_triton_s_own_client(url: str, model: str, inputs: dict[str, tuple[str, Array]]) -> dict[str, Array]:
    """The same question through tritonclient."""
    protocol, _, address = url.partition("://")
    if protocol == "http":
        import tritonclient.http as library
    else:
        import tritonclient.grpc as library
    tensors = []
    for name, (datatype, data) in inputs.items():
        tensors.append(library.InferInput(name, list(data.shape), datatype))
        tensors[-1].set_data_from_numpy(data)
    with library.InferenceServerClient(address) as client:
        answer = client.infer(model, tensors)
        names = [output.name for output in ask_metadata(url, model).outputs]
        return {name: answer.as_numpy(name) for name in names}


def test_both_clients_get_what_triton_s_own_client_gets(url: str, ask: Any, digits: str) -> None:
    expected = asked_by_triton_s_own_client(url, digits, {"image": ("FP32", IMAGES)})
    answers = ask(url, "infer", digits, {"image": IMAGES})
    assert answers.keys() == expected.keys() == {"scores", "label"}
    for name, array in answers.items():
        np.testing.assert_array_equal(array, expected[name])
        assert array.dtype == expected[name].dtype


def test_strings_go_in_and_a_vector_comes_out(url: str, ask: Any, embed: str) -> None:
    text = np.array([["a short text"], ["ünïcode"]], np.object_)
    expected = asked_by_triton_s_own_client(url, embed, {"text": ("BYTES", text)})["embedding"]
    answer = ask(url, "infer", embed, {"text": text})["embedding"]
    assert answer.shape == (2, 384)
    np.testing.assert_array_equal(answer, expected)
    tokens = ask(url, "infer", "embed_tokenizer", {"text": [["a short text"]]})
    assert tokens["input_ids"].dtype == np.int64


def test_plain_json_gives_the_same_answer(triton: TritonServer, ask: Any, digits: str) -> None:
    url = f"http://{triton.http_url}"
    binary = ask(url, "infer", digits, {"image": IMAGES})
    json = ask(url, "infer", digits, {"image": IMAGES}, options={"binary": False})
    assert binary["label"].tolist() == json["label"].tolist()
    np.testing.assert_allclose(json["scores"], binary["scores"], rtol=1e-6)


def test_a_model_is_ready_when_it_is_loaded_and_tells_its_inputs(url: str, ask: Any, control: TritonControl) -> None:
    assert ask(url, "ready") is True
    assert ask(url, "ready", "emulated") is False
    control.load("emulated")
    try:
        assert ask(url, "ready", "emulated") is True
        assert ask(url, "ready", "emulated", version="1") is True
        assert ask(url, "ready", "emulated", version="9") is False
        (row,) = ask(url, "metadata", "emulated").inputs
        assert (row.name, row.datatype, row.shape) == ("x", "FP32", (-1, 8))
    finally:
        control.unload("emulated")


@pytest.mark.parametrize(
    "inputs",
    [{"picture": IMAGES}, {"image": IMAGES[:, :3]}, {"image": IMAGES.astype(np.float64)}, {"image": IMAGES[:0]}],
    ids=["name", "shape", "datatype", "empty"],
)
def test_a_wrong_input_is_refused_with_triton_s_words(url: str, ask: Any, digits: str, inputs: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        ask(url, "infer", digits, inputs)
    assert caught.value.detail
    assert caught.value.attempts == 1


def test_a_model_that_is_not_there_is_not_found(url: str, ask: Any) -> None:
    for method, arguments in (("infer", ({"x": IMAGES},)), ("metadata", ())):
        with pytest.raises((NotFoundError, UnavailableError, RefusedError), match="nothing"):
            ask(url, method, "nothing", *arguments)


def test_many_at_once_each_get_their_own_answer(url: str, digits: str) -> None:
    async def crowd() -> list[dict[str, Array]]:
        async with AsyncClient(url) as client:
            return await asyncio.gather(*(client.infer(digits, {"image": image[None]}) for image in images))

    images = np.random.default_rng(2).random((40, 64), np.float32)
    with Client(url) as client:
        expected = client.infer(digits, {"image": images})["scores"]
    scores = np.concatenate([answer["scores"] for answer in asyncio.run(crowd())])
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("rule", list(Rule))
def test_balanced_requests_over_all_addresses_of_a_name_are_answered(url: str, digits: str, rule: Rule) -> None:
    async def ask() -> list[dict[str, Array]]:
        name = url.replace("127.0.0.1", "localhost")
        async with AsyncClient(name, balance=Balance(rule=rule, hedge_after_s=5.0)) as client:
            return await asyncio.gather(*(client.infer(digits, {"image": IMAGES}) for _ in range(20)))

    assert len({answer["label"].tobytes() for answer in asyncio.run(ask())}) == 1


def test_the_readme_s_example_runs_as_it_is_shown(triton: TritonServer, digits: str) -> None:
    (example,) = (
        block for block in re.findall(r"^```python\n(.*?)^```", README, re.M | re.S) if "kserve_ext.client" in block
    )
    assert "127.0.0.1:8080" in example
    shown: dict[str, Any] = {}
    exec(example.replace("127.0.0.1:8080", triton.http_url), shown)
    assert shown["answer"]["label"].shape == (1, 1)
