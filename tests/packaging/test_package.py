"""A predictor packaged for Triton: refused where it cannot be, and with the answers of KServe's own server."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving.running import run_server
from serving.sample_predictors import CRASH, NAN, REFUSE

from kserve_ext.client import Client
from kserve_ext.errors import InputError, ModelError
from kserve_ext.packaging.package import package_for_triton
from kserve_ext.render.pbtxt import parse_config
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.find import find_server
from kserve_ext.triton.repository import stage
from kserve_ext.triton.server import TritonServer

ROOT = Path(__file__).parents[2]
DOUBLER = "serving.sample_predictors:Doubler"


@pytest.fixture(autouse=True)
def predictors_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def package(folder: Path, target: str = DOUBLER, **options: Any) -> Any:
    artifacts = options.pop("artifacts", folder / "files")
    if artifacts == folder / "files":
        artifacts.mkdir(exist_ok=True)
    given = {"name": "doubler", "repository": folder / "models", "max_batch_size": 8} | options
    return package_for_triton(target, artifacts, **given)


def test_the_model_is_whole_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "weights.bin").write_bytes(b"w")
    (tmp_path / "files" / ".hidden").touch()
    made = package(tmp_path)
    version = tmp_path / "models" / "doubler" / "1"
    assert {path.name for path in version.iterdir()} == {"model.py", "code", "artifacts"}
    assert [path.name for path in (version / "artifacts").iterdir()] == ["weights.bin"]
    assert (version / "code" / "serving" / "sample_predictors.py").is_file()
    assert {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()} == {
        *made.written, "1/artifacts/weights.bin",
    }  # fmt: skip


def test_the_config_tells_what_the_class_tells(tmp_path: Path) -> None:
    made = package(tmp_path)
    config = parse_config((made.folder / "config.pbtxt").read_text())
    assert (config.name, config.backend, config.max_batch_size) == ("doubler", "python", 8)
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("x", [4])]
    assert config.parameters["predictor"].string_value == DOUBLER


def test_a_class_that_tells_nothing_is_told_on_the_command_line(tmp_path: Path) -> None:
    target = "serving.sample_predictors:Texts"
    with pytest.raises(ModelError, match=r"does not tell its inputs and outputs.*--input and --output"):
        package(tmp_path, target)
    assert not (tmp_path / "models").exists()
    package(tmp_path, target, inputs=["text:BYTES:1"], outputs=["length:INT64:1", "upper:BYTES:1"])
    assert "TYPE_STRING" in (tmp_path / "models/doubler/config.pbtxt").read_text()


def test_what_cannot_be_loaded_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Unloadable: cannot be loaded from .*FileNotFoundError: no weights"):
        package(tmp_path, "serving.sample_predictors:Unloadable")
    assert not (tmp_path / "models").exists()


def test_every_wrong_option_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        package(tmp_path, artifacts=tmp_path / "none", name="a/b", max_batch_size=-1)
    assert [problem.field for problem in refused.value.problems] == ["--name", "--model-dir", "--max-batch-size"]


def test_a_model_that_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / "models/doubler/samples.json").write_text("[]")
    with pytest.raises(InputError, match=r"exists.*--force"):
        package(tmp_path, max_batch_size=4)
    package(tmp_path, max_batch_size=4, force=True)
    assert "max_batch_size: 4" in (tmp_path / "models/doubler/config.pbtxt").read_text()
    assert (tmp_path / "models/doubler/samples.json").exists()


# ------------------------------------------------------------------------------------------ both servers, side by side


PREDICTORS = {"doubler": DOUBLER, "digits": "predictors.digits:Digits", "embed": "predictors.embed:Embed"}


class Both:
    """The same predictor on KServe's own server and on Triton."""

    def __init__(self, addresses: dict[str, tuple[str, str]]) -> None:
        self.urls = {server: f"http://{host}/v2/models/{model}/infer" for server, (host, model) in addresses.items()}
        self.clients = {server: (Client(f"http://{host}"), model) for server, (host, model) in addresses.items()}

    def close(self) -> None:
        for client, _ in self.clients.values():
            client.close()

    def ask(self, **inputs: Any) -> dict[str, Any]:
        return {server: client.infer(model, inputs, timeout_s=60) for server, (client, model) in self.clients.items()}

    def statuses(self, content: Any) -> dict[str, tuple[int, str]]:
        return {server: post(url, content) for server, url in self.urls.items()}


def post(url: str, content: Any) -> tuple[int, str]:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def artifacts(built_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of each predictor."""
    embed = tmp_path_factory.mktemp("embed")
    for model, file in (("embed_tokenizer", "tokenizer.json"), ("embed_encoder", "model.onnx")):
        (embed / file).symlink_to(built_models / model / "1" / file)
    return {"doubler": tmp_path_factory.mktemp("none"), "digits": built_models / "digits" / "1", "embed": embed}


@pytest.fixture(scope="module")
def triton_address(artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on all of them, packaged."""
    folder, install = tmp_path_factory.mktemp("packaged"), find_server()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        for name, target in PREDICTORS.items():
            package_for_triton(target, artifacts[name], name=name, repository=folder / "models", max_batch_size=8)
    stage(folder / "models", folder / "staged", list(PREDICTORS), install.backends)
    with TritonServer(folder / "staged", log_file=folder / "triton.log", install=install, exit_timeout_s=1) as server:
        for name in PREDICTORS:
            TritonControl.of(server).load(name)
        yield server.http_url


@pytest.fixture(scope="module")
def both(
    request: pytest.FixtureRequest,
    artifacts: dict[str, Path],
    triton_address: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Both]:
    """The predictor that the test's parameter names, on both servers."""
    name: str = request.param
    command = ["-m", "kserve_ext.serving", PREDICTORS[name], "--model_name", "m", "--model_dir", str(artifacts[name])]
    with run_server(command, tmp_path_factory.mktemp(name), KSERVE_EXT_MAX_BATCH_SIZE="8") as server:
        addresses = {"kserve": (f"127.0.0.1:{server.http}", "m"), "triton": (triton_address, name)}
        with contextlib.closing(Both(addresses)) as servers:
            yield servers


@pytest.mark.triton
@pytest.mark.parametrize("both", ["digits"], indirect=True)
def test_digits_answers_the_same_on_both_servers(both: Both) -> None:
    images = np.random.default_rng(1).integers(0, 17, (5, 64)).astype(np.float32)
    answers = both.ask(image=images)
    assert set(answers["kserve"]) == {"scores", "label"}
    for name in answers["kserve"]:
        np.testing.assert_array_equal(answers["kserve"][name], answers["triton"][name])


@pytest.mark.triton
@pytest.mark.parametrize("both", ["embed"], indirect=True)
def test_embed_answers_the_same_on_both_servers(both: Both) -> None:
    texts = np.array([[b"a cat"], ["ein Hündchen".encode()], [b""], [b"word " * 300]], np.object_)
    answers = both.ask(text=texts)
    assert answers["kserve"]["embedding"].shape == (4, 384)
    np.testing.assert_array_equal(answers["kserve"]["embedding"], answers["triton"]["embedding"])


@pytest.mark.triton
@pytest.mark.parametrize("both", ["doubler"], indirect=True)
@pytest.mark.parametrize(
    ("row", "status", "words"),
    [
        ([1.0, 2.0, 3.0, 4.0], 200, ""),
        ([CRASH, 0.0, 0.0, 0.0], 500, "the row is bad"),
        ([REFUSE, 0.0, 0.0, 0.0], 400, "the row is refused"),
        ([NAN, 0.0, 0.0, 0.0], 500, "NaN in `y`"),
    ],
)
def test_each_row_ends_in_the_same_status_with_the_same_words(
    both: Both, row: list[float], status: int, words: str
) -> None:
    content = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}]}
    for server, (found, text) in both.statuses(content).items():
        assert found == status, (server, text)
        assert words in text, server


@pytest.mark.triton
@pytest.mark.parametrize("both", ["doubler"], indirect=True)
def test_one_bad_row_in_a_batch_of_triton_s_fails_alone(both: Both) -> None:
    rows = [[float(number), 0.0, 0.0, 0.0] for number in range(40)]
    rows[7], rows[23] = [CRASH, 0.0, 0.0, 0.0], [NAN, 0.0, 0.0, 0.0]

    def one(row: list[float]) -> int:
        content = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}]}
        return post(both.urls["triton"], content)[0]

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(one, rows))
    assert [index for index, status in enumerate(statuses) if status != 200] == [7, 23]
