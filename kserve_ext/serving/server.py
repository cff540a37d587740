"""KServe's ModelServer with the fast lane in front, uvloop under it, our gRPC service beside it, and a graceful end.

`Server(settings).start([PredictorModel(...), ...])`; plain kserve.Models may stand beside predictors. The ports open
before the models load, so that liveness answers and readiness says what is going on.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import kserve
import prometheus_client
import uvicorn
from kserve.model_server import app as kserve_app
from kserve.protocol.rest.server import RESTServer

from kserve_ext.errors import KserveExtError
from kserve_ext.serving.admission import Admission
from kserve_ext.serving.fast_lane import FastLane
from kserve_ext.serving.grpc_server import secured_by, start_grpc
from kserve_ext.serving.grpc_service import InferenceService
from kserve_ext.serving.model import PredictorModel
from kserve_ext.serving.port import take_port
from kserve_ext.serving.repository import Repository
from kserve_ext.serving.settings import Settings
from kserve_ext.serving.shutdown import Shutdown
from kserve_ext.serving.status_pages import StatusPages
from kserve_ext.serving.uvicorn_protocol import DirectProtocol
from kserve_ext.serving.workers import Worker

log = logging.getLogger("kserve_ext.serving")

_SHARE_S = 1.0  # how often a worker shows its sums to the others, and looks whether its parent is there
_STREAM_S = 1.0  # all requests are answered by then; what is open are idle streams and health watches
_SWITCH_S = 0.0005  # Python's 5 ms is how long a model that comes back may wait for the event loop to let it go on
_BACKLOG = 2048  # uvicorn's own


class Server(kserve.ModelServer):  # type: ignore[misc]
    """The same arguments as KServe's server, and the plan's numbers in `settings`."""

    def __init__(self, settings: Settings, *, worker: Worker | None = None, **arguments: Any) -> None:
        repository = Repository()
        super().__init__(registered_models=repository, **arguments)
        self.settings, self.worker, self.repository = settings, worker, repository
        self.admission = Admission(limit=settings.limit)
        self.ending = Shutdown(self.admission, settings)

    def start(self, models: Sequence[Any]) -> None:
        """Serve until a signal ends it. Raises UnreachableError for a taken port, and what `load` raised."""
        import uvloop

        for model in models:
            self.register_model(model)
            if not isinstance(model, PredictorModel):
                model.start()
        sys.setswitchinterval(_SWITCH_S)
        listener = self.worker.listener if self.worker else take_port(self.http_port, backlog=_BACKLOG)
        uvloop.run(self._main(listener))

    async def _main(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._custom_exception_handler or self.default_exception_handler)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self.ending.begin)
        loading = asyncio.create_task(self._load())
        ended = asyncio.create_task(self.ending.finished())
        if self.worker is not None:  # a worker that listens gets its share of the requests: only once it is ready
            await asyncio.wait({loading, ended}, return_when=asyncio.FIRST_COMPLETED)
        try:
            await self._serve_until(ended, loading, listener)
        finally:
            for served in self.repository.served().values():
                served.engine.stop()
        log.info("ended")

    async def _serve_until(
        self, ended: asyncio.Task[float], loading: asyncio.Task[None], listener: socket.socket
    ) -> None:
        if loading.done():
            loading.result()  # what `load` raised
        pages = self._pages()
        http = _Http(self._http_config(pages))
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        ticking = asyncio.create_task(self._tick(pages))
        closing = []
        try:
            if self.enable_grpc:
                shared, why_unready = self.worker is not None, self._why_unready(pages)
                grpc = await start_grpc(
                    self._service(), self.grpc_port, self.settings, self.admission, why_unready, shared=shared,
                    secured=secured_by(*self._certificate()),
                )  # fmt: skip
                self.ending.on_begin(grpc.wind_down)
                closing = [grpc]
            await asyncio.wait({loading, ended, serving}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
            http.config.timeout_graceful_shutdown = int(await ended)
            await asyncio.gather(*(one.stop(_STREAM_S) for one in closing))
        finally:
            http.should_exit = True
            http.force_exit = not ended.done()
            await serving
            ticking.cancel()
            pages.share()

    async def _load(self) -> None:
        """Raises KserveExtError with what a model's `load` raised."""
        names, engines = zip(*((name, served.engine) for name, served in self.repository.served().items()), strict=True)
        outcomes = await asyncio.gather(*(engine.start() for engine in engines), return_exceptions=True)
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, KserveExtError):
                raise outcome
            if isinstance(outcome, BaseException):
                log.error("%s cannot be loaded", name, exc_info=outcome)
                raise KserveExtError(f"{name} cannot be loaded: {type(outcome).__name__}: {outcome}") from outcome
        gc.collect()
        gc.freeze()  # what imports and loading left stays for good: a full collection of it would stop all requests for 0.1 s
        log.info("ready")

    def _pages(self) -> StatusPages:
        folder = self.worker.folder if self.worker else None
        name = f"{self.worker.number}-{os.getpid()}" if self.worker else "0"
        behind = self.dataplane.predictor_config  # of a transformer: KServe asks whether the predictor is ready
        return StatusPages(
            self.repository.served, self.admission, _kserve_metrics, folder, name,
            asks_predictor=bool(behind and behind.predictor_health_check),
        )  # fmt: skip

    def _http_config(self, pages: StatusPages) -> uvicorn.Config:
        """uvicorn's settings as KServe's server makes them, with our layer around its app and no line per request."""
        rest = RESTServer(
            "kserve.model_server:app", self.dataplane, self.model_repository_extension, self.http_port,
            access_log_format=self.access_log_format, grace_period=self.grace_period,
        )  # fmt: skip
        rest.create_application()
        logging.getLogger("kserve.trace").setLevel(
            logging.WARNING
        )  # two lines for each request through KServe's routes
        lane = FastLane(kserve_app, self.repository.find, self.admission, self.settings, pages)
        return uvicorn.Config(
            lane,
            log_config=None,
            access_log=False,
            http=DirectProtocol,
            ws="none",
            lifespan="off",
            proxy_headers=False,  # nothing here looks at the client's address
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=self.timeout_keep_alive,
            ssl_certfile=self._certificate()[0],
            ssl_keyfile=self._certificate()[1],
        )

    def _certificate(self) -> tuple[str | None, str | None]:
        """TLS came with KServe 0.21."""
        return getattr(self, "ssl_certfile", None), getattr(self, "ssl_keyfile", None)

    def _service(self) -> InferenceService:
        return InferenceService(
            self.dataplane, self.model_repository_extension, self.repository, self.admission, self.settings
        )

    def _why_unready(self, pages: StatusPages) -> Any:
        def why_unready(name: str) -> str | None:
            if not name:
                return pages.why_unready()
            served = self.repository.find(name)
            return (
                None if served is None else ("about to end" if self.admission.ending else served.engine.why_unready())
            )

        return why_unready

    async def _tick(self, pages: StatusPages) -> None:
        """With several workers: show the sums to the others, and end when the parent is gone."""
        while self.worker is not None:
            await asyncio.sleep(_SHARE_S)
            pages.share()
            if os.getppid() != self.worker.parent and not self.admission.ending:
                log.error("the parent process is gone")
                self.ending.begin()


class _Http(uvicorn.Server):  # type: ignore[misc]
    """uvicorn without its own signal handlers: the end is ours."""

    @contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def _kserve_metrics(openmetrics: bool) -> bytes:
    """KServe's and Python's own metrics, of all workers where there are several."""
    registry = prometheus_client.REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = prometheus_client.CollectorRegistry()
        MultiProcessCollector(registry)
    if openmetrics:
        from prometheus_client.openmetrics import exposition

        text: bytes = exposition.generate_latest(registry)
        return text
    text = prometheus_client.generate_latest(registry)
    return text
