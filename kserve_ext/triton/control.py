"""Load, unload and ask about models of one Triton server, over HTTP: V2 and its repository extension.

Works on an embedded server and on a remote one in explicit mode. Of an embedded server the log is read too, because
Triton's answer to a load that fails seldom says which field or file is at fault.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kserve_ext.errors import TritonError
from kserve_ext.triton import log
from kserve_ext.triton.answers import ModelMetadata, ModelStatistics, read_metadata, read_statistics
from kserve_ext.triton.repository import check_servable, served_config
from kserve_ext.triton.server import LOAD_TIMEOUT_S, TritonServer

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

_ANSWER_TIMEOUT_S = 10.0  # everything but a load is answered from memory
_POLL_S = 0.01
_DYING_S = 2.0  # a lost connection to a server that is ending comes before its end


class TritonControl:
    """Control of the server at `address` (host:port of its HTTP endpoint), or of an embedded one (`of`)."""

    def __init__(self, address: str, *, server: TritonServer | None = None) -> None:
        self.address = address
        self._server = server

    @classmethod
    def of(cls, server: TritonServer) -> TritonControl:
        """Control of an embedded server; it then explains failed loads and a dead server from the log."""
        return cls(server.http_url, server=server)

    def load(self, model: str, config: ModelConfig | None = None, *, timeout_s: float = LOAD_TIMEOUT_S) -> float:
        """Load the model with `config` in place of its config.pbtxt, or as its files say. Seconds until it is ready.

        A config for the onnxruntime backend is turned to the python backend where the embedded server has only that.
        Raises TritonError that says which field or file is at fault.
        """
        if self._server:
            config = config and served_config(config, self._server.install.backends)
            check_servable(self._server.repository, model, config)
        if config is None:
            self._drop_override(model)
        position = self._server.log_position() if self._server else 0
        body = {"parameters": {"config": _as_json(model, config)}} if config is not None else {}
        started = time.monotonic()
        status, answer = self._ask(
            "POST", f"/v2/repository/models/{quote(model)}/load", body, timeout_s=timeout_s, doing=f"loading {model}"
        )
        if status != http.client.OK:
            raise TritonError(f"{model} does not load: {self._why(model, answer, position)}", remedy=self._look())
        while not self.ready(model):
            if time.monotonic() - started > timeout_s:
                raise TritonError(f"{model} is loaded but not ready after {timeout_s:.0f} s", remedy=self._look())
            time.sleep(_POLL_S)
        return time.monotonic() - started

    def unload(self, model: str, *, timeout_s: float = LOAD_TIMEOUT_S) -> None:
        """Unload the model, requests in flight are answered, and wait until its memory is free again."""
        until = time.monotonic() + timeout_s
        self._post(f"/v2/repository/models/{quote(model)}/unload", {})
        while self._state(model) not in ("", "UNAVAILABLE"):
            if time.monotonic() > until:
                raise TritonError(f"{model} is not unloaded after {timeout_s:.0f} s", remedy=self._look())
            time.sleep(_POLL_S)

    def ready(self, model: str) -> bool:
        """Whether the model takes requests."""
        return self._ask("GET", f"/v2/models/{quote(model)}/ready")[0] == http.client.OK

    def metadata(self, model: str) -> ModelMetadata:
        """Inputs, outputs and batch size of a loaded model."""
        path = f"/v2/models/{quote(model)}"
        return read_metadata(self._get(path), self._get(f"{path}/config"))

    def config(self, model: str) -> ModelConfig:
        """The config a loaded model runs with, Triton's defaults filled in."""
        from google.protobuf import json_format
        from tritonclient.grpc.model_config_pb2 import ModelConfig

        answer = self._get(f"/v2/models/{quote(model)}/config")
        # fields of a server newer than the client's message say nothing about batching
        return json_format.ParseDict(answer, ModelConfig(), ignore_unknown_fields=True)

    def statistics(self, model: str) -> ModelStatistics:
        """Counters of a loaded model since it was loaded; subtract two to get what happened in between.

        Triton counts after it has answered: the request answered last may not be in yet.
        """
        return read_statistics(self._get(f"/v2/models/{quote(model)}/stats"))

    def version(self) -> str:
        """Version of the server, such as `2.51.0`."""
        return str(self._get("/v2")["version"])

    def _drop_override(self, model: str) -> None:
        """Unload a loaded model: until then Triton keeps the config it was given, and a plain load changes nothing."""
        if self._state(model) == "READY":
            self.unload(model)

    def _state(self, model: str) -> str:
        """READY, LOADING, UNLOADING, UNAVAILABLE, or empty for a model that was never loaded."""
        index = self._post("/v2/repository/index", {})
        states = {str(entry.get("state", "")) for entry in index if entry["name"] == model}
        return next((state for state in ("READY", "LOADING", "UNLOADING", "UNAVAILABLE") if state in states), "")

    def _why(self, model: str, answer: Any, position: int) -> str:
        """The reasons Triton logged since `position`, else what it answered."""
        logged = log.reasons(log.read_from(self._server.log_file, position), model) if self._server else ()
        return "\n  ".join(logged or (_error_of(answer),))

    def _look(self) -> str:
        return f"the server's log: {self._server.log_file}" if self._server else "the server's log has the reason"

    def _get(self, path: str) -> Any:
        return self._checked("GET", path, None)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._checked("POST", path, body)

    def _checked(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        status, answer = self._ask(method, path, body)
        if status != http.client.OK:
            raise TritonError(f"Triton at {self.address} answers {status} to {path}: {_error_of(answer)}")
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = _ANSWER_TIMEOUT_S,
        doing: str = "",
    ) -> tuple[int, Any]:
        """Status and parsed answer. Raises TritonError when there is none."""
        connection = http.client.HTTPConnection(self.address, timeout=timeout_s)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            if self._server:
                self._server.check_alive(patience_s=_DYING_S)
            quoted = self._server.quote_log() if self._server else ""
            what = f"Triton at {self.address} does not answer{doing and f' while {doing}'}: {error!r}{quoted}"
            raise TritonError(what) from error
        finally:
            connection.close()
        try:
            return response.status, json.loads(content) if content else {}
        except ValueError as error:
            raise TritonError(
                f"{self.address} answers {path} with something that is not JSON: no Triton there?"
            ) from error


def _error_of(answer: Any) -> str:
    return str(answer.get("error", answer)) if isinstance(answer, Mapping) else str(answer)


def _as_json(model: str, config: ModelConfig) -> str:
    from google.protobuf import json_format

    fields = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return json.dumps({**fields, "name": model})
