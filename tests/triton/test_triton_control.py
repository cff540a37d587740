"""Loading, asking and counting on a real server, and what is said when that fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from kserve_ext.errors import KserveExtError, ModelError, TritonError
from kserve_ext.render.pbtxt import parse_config, with_batching
from kserve_ext.triton.answers import ModelStatistics, TensorSpec
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.triton

INPUT = 'input [ { name: "x", data_type: TYPE_FP32, dims: [ 2 ] } ]\n'
OUTPUT = 'output [ { name: "y", data_type: TYPE_FP32, dims: [ 2 ] } ]\n'
IDLE = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
GOOD = 'backend: "python"\nmax_batch_size: 8\n' + INPUT + OUTPUT


@pytest.fixture
def control(plus: TritonServer) -> TritonControl:
    return TritonControl.of(plus)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonControl]:
    """A server for the tests that load nothing, or only what does not load: `idle`, and one model per bad program."""
    folder = tmp_path_factory.mktemp("shared")
    for name, program in {"idle": IDLE, **{model: bad for model, (bad, _) in PROGRAMS.items()}}.items():
        (folder / "models" / name / "1").mkdir(parents=True)
        (folder / "models" / name / "1" / "model.py").write_text(program)
        (folder / "models" / name / "config.pbtxt").write_text(GOOD)
    with TritonServer(folder / "models", log_file=folder / "triton.log") as server:
        yield TritonControl.of(server)


def counted(control: TritonControl, requests: int) -> ModelStatistics:
    """The counters once that many requests are in: Triton counts after it has answered."""
    until = time.monotonic() + 30
    while (found := control.statistics("plus")).request_count < requests and time.monotonic() < until:
        pass
    return found


def test_a_loaded_model_is_ready_and_described(control: TritonControl) -> None:
    assert not control.ready("plus")
    assert control.load("plus") > 0
    assert control.ready("plus")
    found = control.metadata("plus")
    assert found.inputs == (TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),)
    assert found.outputs == (TensorSpec(name="y", datatype="FP32", shape=(-1, 2)),)
    assert (found.name, found.max_batch_size, found.backend, found.is_ensemble) == ("plus", 8, "python", False)


def test_unloading_ends_the_models_processes(control: TritonControl, plus: TritonServer, processes: Any) -> None:
    control.load("plus")
    assert len(processes.family(plus.pid)) == 2
    control.unload("plus")
    assert not control.ready("plus")
    assert len(processes.family(plus.pid)) == 1


def test_a_config_override_changes_batching_and_instances(
    control: TritonControl, plus: TritonServer, processes: Any
) -> None:
    control.load("plus")
    wanted = with_batching(control.config("plus"), max_batch_size=4, max_queue_delay_s=0.003, instances=2)
    control.load("plus", wanted)
    running = control.config("plus")
    assert running.max_batch_size == 4
    assert running.dynamic_batching.max_queue_delay_microseconds == 3000
    assert [group.count for group in running.instance_group] == [2]
    assert len(processes.family(plus.pid)) >= 3  # stubs of the earlier config may still be ending


def test_loading_without_a_config_takes_back_an_override(control: TritonControl) -> None:
    control.load("plus", parse_config(GOOD.replace("8", "4")))
    assert control.metadata("plus").max_batch_size == 4
    control.load("plus")
    assert control.metadata("plus").max_batch_size == 8


def test_requests_that_wait_together_run_as_one_batch(control: TritonControl, infer: Callable[..., Any]) -> None:
    delayed = with_batching(parse_config(GOOD), max_batch_size=3, max_queue_delay_s=30, instances=1)
    control.load("plus", delayed)
    before = control.statistics("plus")
    rows = [[[float(number), 0.0]] for number in range(3)]
    answers: dict[int, Any] = {}
    clients = [
        threading.Thread(target=lambda at=at: answers.update({at: infer(control.address, "plus", rows[at])}))
        for at in range(3)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == {at: (200, [[at + 1.0, 1.0]]) for at in range(3)}
    since = counted(control, 3) - before
    assert (since.request_count, since.inference_count, since.execution_count, since.mean_batch) == (3, 3, 1, 3.0)
    assert set(since.batches) == {3}
    assert since.batches[3].executions == 1
    assert since.batches[3].compute_infer_s > 0
    assert since.queue_s > 0


def test_the_difference_of_two_readings_leaves_out_what_was_before(
    control: TritonControl, infer: Callable[..., Any]
) -> None:
    control.load("plus")
    infer(control.address, "plus", [[1.0, 2.0]])
    before = counted(control, 1)
    infer(control.address, "plus", [[1.0, 2.0], [3.0, 4.0]])
    infer(control.address, "plus", [[1.0, 2.0], [3.0, 4.0]])
    since = counted(control, 3) - before
    assert (since.request_count, since.inference_count, since.execution_count) == (2, 4, 2)
    assert {size: batch.executions for size, batch in since.batches.items()} == {2: 2}


def test_counters_that_went_back_are_an_error(control: TritonControl, infer: Callable[..., Any]) -> None:
    control.load("plus")
    infer(control.address, "plus", [[1.0, 2.0]])
    before = counted(control, 1)
    control.load("plus")
    with pytest.raises(TritonError, match="loaded again in between"):
        _ = control.statistics("plus") - before


BROKEN = {
    "preferred size above the maximum": (
        GOOD + "dynamic_batching { preferred_batch_size: [ 16 ] }",
        "dynamic_batching.preferred_batch_size: dynamic batching preferred size must be <= max batch size",
    ),
    "priority out of range": (
        GOOD + "dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
        "dynamic_batching.default_priority_level: default priority level must be in range",
    ),
    "negative batch": (GOOD.replace("8", "-8"), "'max_batch_size' must be non-negative"),
    "no data type": (
        'backend: "python"\ninput [ { name: "x", dims: [ 2 ] } ]\n' + OUTPUT,
        "input: model input 'x' must specify 'data_type'",
    ),
    "no dims": (
        'backend: "python"\ninput [ { name: "x", data_type: TYPE_FP32 } ]\n' + OUTPUT,
        "input: model input 'x' must specify 'dims'",
    ),
    "a GPU that is not there": (
        GOOD + "instance_group [ { kind: KIND_GPU, gpus: [ 77 ] } ]",
        "instance_group: instance group idle_0 of model idle",
    ),
    "a version that is not there": (GOOD + "version_policy { specific { versions: 7 } }", "version_policy: version 7"),
    "a step that is not there": (
        'platform: "ensemble"\nmax_batch_size: 8\n' + INPUT + OUTPUT + "ensemble_scheduling { step [ { "
        'model_name: "gone" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } ] }',
        "ensemble_scheduling.step.model_name: ensemble idle contains models that are not available or ambiguous: gone",
    ),
    "a warm-up of an input that is not there": (
        GOOD + 'model_warmup [ { name: "w" batch_size: 1 inputs { key: "z" '
        "value { data_type: TYPE_FP32 dims: [ 2 ] zero_data: true } } } ]",
        "model_warmup.inputs: expected 1 inputs but got 0 inputs",
    ),
}


@pytest.mark.parametrize(("config", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_config_that_does_not_load_is_named_by_its_field(shared: TritonControl, config: str, reason: str) -> None:
    with pytest.raises(TritonError) as caught:
        shared.load("idle", parse_config(config))
    assert caught.value.message.startswith("idle does not load: ")
    assert reason in caught.value.message
    assert "triton.log" in caught.value.remedy


PROGRAMS = {
    "syntax-error": ("def x(:", "SyntaxError: invalid syntax (model.py, line 1)"),
    "missing-package": ("import no_such_package", "No module named 'no_such_package', at "),
    "no-class": ("x = 1", "has no attribute 'TritonPythonModel'"),
    "missing-file": (
        "class TritonPythonModel:\n    def initialize(self, args):\n        open('/no/such/file')\n",
        "No such file or directory: '/no/such/file', at ",
    ),
    "ends": ("import os\nos._exit(3)", "model.py: Stub process 'ends_0"),
}


@pytest.mark.parametrize(("model", "reason"), [(model, reason) for model, (_, reason) in PROGRAMS.items()])
def test_a_python_model_that_does_not_load_says_where(shared: TritonControl, model: str, reason: str) -> None:
    with pytest.raises(TritonError) as caught:
        shared.load(model)
    assert caught.value.message.startswith(f"{model} does not load: ")
    assert reason in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_model_file_is_named_without_asking_triton(
    add_model: Callable[..., Path], start: Callable[..., TritonServer]
) -> None:
    repository = add_model()
    control = TritonControl.of(start(repository))
    (repository / "plus" / "1" / "model.py").unlink()
    with pytest.raises(ModelError, match=r"plus/1/model\.py: there is no such file"):
        control.load("plus")


def test_a_config_file_that_cannot_be_read_is_named_by_line(
    add_model: Callable[..., Path], start: Callable[..., TritonServer]
) -> None:
    control = TritonControl.of(start(add_model(config=GOOD + "max_batchsize: 3\n")))
    with pytest.raises(ModelError, match=r"plus/config\.pbtxt:5: max_batchsize: .*max_batch_size"):
        control.load("plus")


def test_a_model_that_is_not_there_is_named_with_those_that_are(shared: TritonControl) -> None:
    with pytest.raises(ModelError, match=r"minus/config\.pbtxt: there is no such file.*models here: ends, idle, "):
        shared.load("minus")


@pytest.mark.parametrize("question", ["metadata", "config", "statistics"])
def test_asking_about_a_model_that_is_not_loaded_says_so(shared: TritonControl, question: str) -> None:
    with pytest.raises(TritonError, match=r"answers 40[04] to /v2/models/idle.*(not available|not found|no available)"):
        getattr(shared, question)("idle")


QUESTIONS: dict[str, Callable[[TritonControl], object]] = {
    "load": lambda control: control.load("plus"),
    "unload": lambda control: control.unload("plus"),
    "ready": lambda control: control.ready("plus"),
    "metadata": lambda control: control.metadata("plus"),
    "statistics": lambda control: control.statistics("plus"),
    "version": lambda control: control.version(),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_server_killed_meanwhile_is_reported_with_its_end_and_its_log(
    control: TritonControl, plus: TritonServer, ask: Callable[[TritonControl], object]
) -> None:
    os.kill(plus.pid, signal.SIGKILL)
    with pytest.raises(TritonError, match=r"^the Triton server died: killed by SIGKILL(\n  .*)*Started") as caught:
        ask(control)
    assert str(plus.log_file) in caught.value.remedy


def test_a_server_that_dies_during_a_load_is_reported(
    add_model: Callable[..., Path], start: Callable[..., TritonServer]
) -> None:
    killer = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nx = input()"
    control = TritonControl.of(start(add_model("killer", killer)))
    with pytest.raises(TritonError, match="the Triton server died: killed by SIGKILL"):
        control.load("killer")


def test_a_stopped_server_is_said_to_be_stopped(control: TritonControl, plus: TritonServer) -> None:
    plus.stop()
    with pytest.raises(TritonError, match="the Triton server is not running"):
        control.ready("plus")


def test_a_load_that_takes_too_long_is_given_up(
    add_model: Callable[..., Path], start: Callable[..., TritonServer]
) -> None:
    hangs = "import time\ntime.sleep(600)"
    server = start(add_model("hangs", hangs), exit_timeout_s=1)
    with pytest.raises(
        TritonError, match=r"does not answer while loading hangs: TimeoutError(.*\n)*.*loading: hangs:1"
    ):
        TritonControl.of(server).load("hangs", timeout_s=0.5)


def test_a_remote_server_is_controlled_by_its_address(plus: TritonServer) -> None:
    control = TritonControl(plus.http_url)
    assert control.load("plus", parse_config(GOOD.replace("8", "4"))) > 0
    assert control.metadata("plus").max_batch_size == 4
    with pytest.raises(TritonError, match="plus does not load: failed to load 'plus'"):
        control.load("plus", parse_config(BROKEN["negative batch"][0]))
    control.unload("plus")
    assert not control.ready("plus")


def test_an_address_where_nobody_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(TritonError, match=rf"Triton at {address} does not answer: ConnectionRefusedError"):
        TritonControl(address).version()


def test_an_answer_that_is_not_tritons_is_refused() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.handle_request).start()
        with pytest.raises(KserveExtError, match="not JSON: no Triton there"):
            TritonControl(f"127.0.0.1:{page.server_port}").version()


def test_importing_the_package_loads_no_heavy_library() -> None:
    program = "import sys, kserve_ext.triton.control; print(*sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"tritonclient", "numpy", "psutil", "google.protobuf", "pytriton"} & set(outcome.stdout.split())
