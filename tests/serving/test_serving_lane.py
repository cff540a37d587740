"""The ASGI layer by itself: what it answers, what it passes on, and that every place is given back."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn
from serving.sample_predictors import CRASH, ROW, Doubler, Gated, Texts

from kserve_ext.serving.admission import Admission
from kserve_ext.serving.engine import Engine
from kserve_ext.serving.fast_lane import FastLane
from kserve_ext.serving.routes import Kind, Route, route
from kserve_ext.serving.served import Served
from kserve_ext.serving.settings import Execution, Settings
from kserve_ext.serving.status_pages import StatusPages
from kserve_ext.serving.uvicorn_cycle import cycle_of
from kserve_ext.serving.uvicorn_protocol import DirectProtocol

GOOD = orjson.dumps({"id": "7", "inputs": [{"name": "x", "shape": [1, ROW], "datatype": "FP32", "data": [1] * ROW}]})
INFER = "/v2/models/m/infer"


class Cycle:
    """The parts of a body, as an ASGI server that is not uvicorn gives them."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts

    async def receive(self) -> dict[str, Any]:
        if not self.parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.parts.pop(0), "more_body": bool(self.parts)}


class Answer:
    """What was sent."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 0, {}, b""

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message["body"]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Front:
    """A lane before an app that answers 299, with one model behind it."""

    def __init__(self, engine: Engine, settings: Settings, predictor: Any) -> None:
        self.admission = Admission(limit=settings.limit)
        served = Served(name="m", version="1", engine=engine, decode=predictor.decode, encode=predictor.encode)
        pages = StatusPages(lambda: {"m": served}, self.admission, lambda _: b"python_info 1\n", None, "0")
        find = {"m": served}.get
        self.lane = FastLane(self._kserve, find, self.admission, settings, pages)

    async def _kserve(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def ask(
        self, path: str = INFER, body: bytes | list[bytes] = GOOD, *, method: str = "POST",
        **headers: str,
    ) -> Answer:  # fmt: skip
        cycle = Cycle(body if isinstance(body, list) else [body])
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        answer = Answer()
        await self.lane({"type": "http", "method": method, "path": path, "headers": pairs}, cycle.receive, answer.send)
        return answer


def front(use: Callable[[Front], Awaitable[Any]], predictor: Any = Doubler, **changes: Any) -> Any:
    settings = Settings(**{"execution": Execution.THREAD, "max_batch_size": 4, **changes})

    async def main() -> Any:
        engine = Engine("m", predictor, Path("."), settings)
        await engine.start()
        before = Front(engine, settings, predictor())
        try:
            outcome = await use(before)
        finally:
            engine.stop()
        assert before.admission.in_flight == 0
        return outcome

    return asyncio.run(main())


def ask(*arguments: Any, **keywords: Any) -> Answer:
    changes = keywords.pop("settings", {})
    answer: Answer = front(lambda before: before.ask(*arguments, **keywords), **changes)
    return answer


def test_an_inference_is_answered_with_its_id() -> None:
    answer = ask(x_request_id="abc")
    assert answer.status == 200
    assert answer.json == {
        "model_name": "m", "model_version": "1", "id": "7",
        "outputs": [{"name": "y", "shape": [1, ROW], "datatype": "FP32", "data": [2] * ROW}],
    }  # fmt: skip
    assert answer.headers[b"x-request-id"] == b"abc"


def test_a_request_without_an_id_gets_one() -> None:
    answer = ask(body=GOOD.replace(b'"id":"7",', b""))
    assert answer.json["id"] == answer.headers[b"x-request-id"].decode() != ""


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/v2/models/other/infer", "POST", {}),
        ("/v2", "GET", {}),
        ("/v1/models/m:explain", "POST", {}),
        ("/v1/models/m:predict", "POST", {"ce_id": "1"}),
        ("/v1/models/m:predict", "POST", {"content_type": "application/cloudevents+json"}),
        (INFER, "GET", {}),
    ],
)
def test_what_is_not_ours_goes_to_kserve(path: str, method: str, headers: dict[str, str]) -> None:
    assert ask(path, method=method, **headers).status == 299


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"body": b"{"}, 400, "not JSON"),
        ({"path": "/v2/models/m/versions/2/infer"}, 404, "has version 1, not 2"),
        ({"inference_header_content_length": "x"}, 400, "not a whole number"),
        ({"inference_header_content_length": "9999"}, 400, "in a body of"),
        ({"content_length": "2000"}, 413, "at most 1000"),
        ({"body": [b"a" * 600, b"b" * 600]}, 413, "more than 1000"),
        ({"body": b"a" * 1001}, 413, "more than 1000"),
        ({"body": GOOD.replace(b"[1,1,1,1]", b"[-1,1,1,1]")}, 500, "RuntimeError: the row is bad"),
        ({"body": GOOD.replace(b"[1,1,1,1]", b"[-2,1,1,1]")}, 400, "the row is refused"),
        ({"path": "/v1/models/m:predict", "body": b"{}"}, 400, "`instances`"),
        ({"body": []}, 499, "gone"),
    ],
)
def test_a_request_that_fails_says_why(changes: dict[str, Any], status: int, words: str) -> None:
    answer = ask(**changes, settings={"max_request_bytes": 1000})
    assert (answer.status, words in answer.json["error"]) == (status, True), answer.body
    assert answer.headers[b"x-request-id"]


def test_a_request_is_logged_in_one_line_only_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "kserve_ext.serving.requests"):
        ask(x_request_id="abc")
        assert [record for record in caplog.records if record.name.endswith(".requests")] == []
        ask(x_request_id="abc", traceparent="00-1-2-01", settings={"request_log": True})
    (record,) = (record for record in caplog.records if record.name.endswith(".requests"))
    line = orjson.loads(record.message)
    assert line.pop("ms") >= 0
    assert line == {"model": "m", "status": 200, "id": "abc", "trace": "00-1-2-01"}


def test_a_served_version_is_answered_and_v1_too() -> None:
    assert ask("/v2/models/m/versions/1/infer").status == 200
    instances = orjson.dumps({"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]})
    assert ask("/v1/models/m:predict", instances).json == {"predictions": [[2, 4, 6, 8], [10, 12, 14, 16]]}


def test_a_predictors_own_payload_is_decoded_and_encoded_by_it() -> None:
    answer = ask("/v1/models/m:predict", b'{"texts":["a","bcd"]}', settings={"predictor": Texts})
    assert answer.json == {"lengths": [1, 3]}
    refused = ask("/v1/models/m:predict", b'{"text":["a"]}', settings={"predictor": Texts})
    assert (refused.status, "KeyError" in refused.json["error"]) == (400, True)


@pytest.fixture(autouse=True)
def gate() -> None:
    Gated.gate.clear()
    while Gated.entered.acquire(blocking=False):
        pass


async def hold(before: Front, count: int, **headers: str) -> list[asyncio.Task[Answer]]:
    """Requests that are in flight: the first in the model, the others behind it."""
    tasks = [asyncio.create_task(before.ask(**headers)) for _ in range(count)]
    assert await asyncio.to_thread(Gated.entered.acquire, timeout=30)
    return tasks


def test_one_too_many_is_refused_with_a_time_to_come_back_and_the_others_are_answered() -> None:
    async def use(before: Front) -> None:
        held = await hold(before, 3)
        refused = await before.ask()
        assert (refused.status, refused.headers[b"retry-after"]) == (503, b"1")
        assert "3 requests are in flight" in refused.json["error"]
        Gated.gate.set()
        assert [answer.status for answer in await asyncio.gather(*held)] == [200] * 3
        assert (await before.ask()).status == 200

    front(use, Gated, concurrency_limit=3)


@pytest.mark.parametrize("header", ["x_request_timeout_ms", "x_envoy_expected_rq_timeout_ms"])
def test_a_clients_deadline_ends_its_request_and_frees_its_place(header: str) -> None:
    async def use(before: Front) -> None:
        held = await hold(before, 1)
        late = await before.ask(**{header: "10"})
        assert late.status == 504
        assert before.admission.in_flight == 1
        Gated.gate.set()
        await asyncio.gather(*held)

    front(use, Gated)


def test_the_servers_own_deadline_holds_where_the_client_names_none() -> None:
    async def use(before: Front) -> None:
        (held,) = await hold(before, 1)
        assert (await held).status == 504
        Gated.gate.set()

    front(use, Gated, timeout_s=0.05)


async def over_uvicorn(before: Front, use: Callable[[int], Awaitable[None]]) -> None:
    """The lane behind the real HTTP server."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(before.lane, log_config=None, lifespan="off", http=DirectProtocol, proxy_headers=False)
    )
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        await use(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await serving


def http_request(body: bytes, content_bytes: int) -> bytes:
    return b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%s" % (INFER.encode(), content_bytes, body)


def test_answers_over_uvicorn_keep_the_connection_until_the_server_ends() -> None:
    async def use(before: Front) -> None:
        async def ask_thrice(port: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for ending in (False, False, True):
                before.admission.ending = ending
                writer.write(http_request(GOOD, len(GOOD)))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert head.startswith(b"http/1.1 200 ok\r\n")
                assert (b"connection: close" in head) == ending
                (length,) = re.findall(rb"content-length: (\d+)", head)
                assert orjson.loads(await reader.readexactly(int(length)))["id"] == "7"
            assert await reader.read() == b""
            writer.close()

        await over_uvicorn(before, ask_thrice)

    front(use)


def test_the_request_object_of_this_uvicorn_is_the_one_that_is_known() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(cycle_of(receive))

    async def use(before: Front) -> None:
        before.lane = app  # type: ignore[assignment]

        async def ask_once(port: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(http_request(b"", 0))
            await reader.read(1)
            writer.close()

        await over_uvicorn(before, ask_once)

    front(use)
    assert seen != [None]
    assert cycle_of(Cycle([]).receive) is None


def test_a_connection_that_closes_frees_the_place_of_its_request() -> None:
    async def use(before: Front) -> None:
        async def hang_up(port: int) -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(http_request(GOOD, len(GOOD)))
            assert await asyncio.to_thread(Gated.entered.acquire, timeout=30)
            assert before.admission.in_flight == 1
            writer.close()
            while before.admission.in_flight:
                await asyncio.sleep(0.001)
            Gated.gate.set()

        await over_uvicorn(before, hang_up)

    front(use, Gated)


def test_a_body_that_is_too_large_is_refused_before_it_is_sent() -> None:
    async def use(before: Front) -> None:
        async def send_the_head(port: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(http_request(b"", 10**9))
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 413 ")
            writer.close()

        await over_uvicorn(before, send_the_head)

    front(use)


def test_while_ending_answers_ask_the_client_to_connect_elsewhere_and_then_refuse() -> None:
    async def use(before: Front) -> None:
        before.admission.ending = True
        assert (await before.ask("/v2/health/ready", b"", method="GET")).status == 503
        answer = await before.ask()
        assert (answer.status, answer.headers[b"connection"]) == (200, b"close")
        before.admission.closed = True
        refused = await before.ask()
        assert (refused.status, refused.headers[b"connection"]) == (503, b"close")

    front(use)


def test_health_answers_while_the_model_runs_and_says_when_it_is_stuck() -> None:
    async def use(before: Front) -> None:
        held = await hold(before, 1)
        while (answer := await before.ask("/v2/health/ready", b"", method="GET")).status == 200:
            await asyncio.sleep(0)
        assert "busy with one batch" in answer.json["error"]
        Gated.gate.set()
        await asyncio.gather(*held)
        assert (await before.ask("/v2/health/ready", b"", method="GET")).status == 200

    front(use, Gated, stuck_after_s=0.05)


def test_statistics_index_metadata_and_metrics_tell_what_happened() -> None:
    async def use(before: Front) -> None:
        await before.ask()
        await before.ask(body=GOOD.replace(b"[1,1,1,1]", orjson.dumps([CRASH, 0, 0, 0])))
        (stats,) = (await before.ask("/v2/models/m/stats", b"", method="GET")).json["model_stats"]
        assert (stats["inference_count"], stats["execution_count"]) == (2, 2)
        assert [stats["inference_stats"][key]["count"] for key in ("success", "fail")] == [1, 1]
        index = (await before.ask("/v2/repository/index")).json
        assert index == [{"name": "m", "version": "1", "state": "READY", "reason": ""}]
        about = (await before.ask("/v2/models/m", b"", method="GET")).json
        assert about["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, ROW]}]
        metrics = (await before.ask("/metrics", b"", method="GET")).body.decode()
        for line in (
            'nv_inference_request_success{model="m",version="1"} 1',
            'nv_inference_request_failure{model="m",version="1"} 1',
            'kserve_ext_batch_rows_bucket{model="m",version="1",le="1"} 2',
            "kserve_ext_requests_in_flight 0",
            "python_info 1",
        ):
            assert line in metrics.splitlines()

    front(use)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v2/models/a/infer", Route(Kind.INFER, "a", None)),
        ("POST", "/v2/models/a/versions/3/infer", Route(Kind.INFER, "a", "3")),
        ("GET", "/v2/models/a/versions/3", Route(Kind.METADATA, "a", "3")),
        ("GET", "/v2/models/a/ready", Route(Kind.MODEL_READY, "a", None)),
        ("POST", "/v2/models/a/ready", None),
        ("POST", "/v2/models/a/b/infer", None),
        ("GET", "/v2/models", None),
        ("POST", "/v1/models/a:predict", Route(Kind.PREDICT_V1, "a", None)),
        ("POST", "/v1/models/a:explain", None),
        ("POST", "/v2/repository/models/a/load", None),
    ],
)
def test_paths_are_told_apart(method: str, path: str, expected: Route | None) -> None:
    assert route(method, path) == expected
