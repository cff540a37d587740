"""HTTP requests to an API server, sent again while it is away. What it answers is not judged here."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_ext.cluster.refusals import RETRIED
from kserve_ext.errors import UnreachableError

log = logging.getLogger(__name__)

_TIMEOUT_S = (5.0, 30.0)  # to connect, to answer
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_AGENT = "kserve-ext"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the server said: its status and content; the open answer itself where it is streamed."""

    status: int
    content: Any


@dataclass(frozen=True, slots=True)
class _Away:
    """An attempt that found nobody, or a server that cannot answer now (`answer`); `final` where waiting heals nothing."""

    why: str
    final: bool = False
    answer: _Answer | None = None
    after_s: float = 0.0  # as the server asks
    remedy: str = "is it running, and does the kubeconfig name it? `kubectl cluster-info` asks the same"


class Requests:
    """Requests through the kubernetes client's connections and credentials."""

    def __init__(self, client: Any, *, name: str, patience_s: float) -> None:
        self._client, self._name, self._patience_s = client, name, patience_s

    @property
    def server(self) -> str:
        """The address of the API."""
        return str(self._client.configuration.host)

    def send(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), body: Any = None,
        content_type: str = "application/json", stream: bool = False, silent_s: float | None = None,
    ) -> tuple[int, Any]:  # fmt: skip
        """Status and content of the answer. Only for requests that may be sent twice: this one may be.

        A stream may be silent for `silent_s`, as a log that is followed may be for ever.

        Raises UnreachableError when nobody answers as long as patience lasts.
        """
        until, pause_s = time.monotonic() + self._patience_s, _FIRST_PAUSE_S
        while True:
            found = self._try(method, path, list(query), body, content_type, stream, silent_s)
            if isinstance(found, _Answer):
                return found.status, found.content
            pause = max(found.after_s, pause_s * random.uniform(0.8, 1.2))  # not in step with everyone else who waits
            if found.final or time.monotonic() + pause > until:
                if found.answer is not None:
                    return found.answer.status, found.answer.content
                what = f"the API server of {self._name} at {self.server} does not answer: {found.why}"
                raise UnreachableError(what, remedy=found.remedy)
            log.debug("%s %s: %s; again in %.1f s", method, path, found.why, pause)
            time.sleep(pause)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    def _try(
        self, method: str, path: str, query: list[tuple[str, str]], body: Any, content_type: str, stream: bool,
        silent_s: float | None,
    ) -> _Answer | _Away:  # fmt: skip
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": _AGENT}
        try:
            # Not call_api: where TLS fails it raises AttributeError, for want of an answer's body.
            self._client.update_params_for_auth(headers, query, ["BearerToken"])
            answer = self._client.rest_client.request(
                method, self.server + path, query_params=query, headers=headers, body=body,
                _preload_content=False, _request_timeout=(_TIMEOUT_S[0], silent_s) if stream else _TIMEOUT_S,
            )  # fmt: skip
            return _Answer(answer.status, answer if stream else _content(answer.data))
        except ApiException as error:
            return (
                _refused(error) if error.status else _away(str(error.reason))
            )  # no status: TLS, as the library has it
        except (HTTPError, OSError) as error:  # OSError: a certificate file that is gone, a broken pipe
            return _away(str(error))


def _refused(error: Any) -> _Answer | _Away:
    """A refusal; or, where the server may say otherwise in a moment, a reason to ask again."""
    answer = _Answer(int(error.status), _content(error.body))
    if answer.status not in RETRIED or _will_not_pass(answer):
        return answer
    after = str((error.headers or {}).get("Retry-After", ""))
    return _Away(f"{error.status} {error.reason}", answer=answer, after_s=float(after) if after.isdecimal() else 0.0)


def _will_not_pass(answer: _Answer) -> bool:
    message = str(answer.content.get("message", "")) if isinstance(answer.content, Mapping) else ""
    return answer.status == 500 and "not declared in schema" in message


def _away(why: str) -> _Away:
    """What a failed connection means: a certificate does not heal by waiting."""
    why = why.rpartition("Caused by ")[2].strip("()") if "Caused by " in why else why
    if "certificate has expired" in why:
        return _Away("its certificate, or that of the kubeconfig's CA, has expired", final=True,
                     remedy="renew it, or fetch a new kubeconfig; the clock of this machine counts too")  # fmt: skip
    if "CERTIFICATE_VERIFY_FAILED" in why or "certificate verify failed" in why:
        return _Away("its certificate is not signed by the CA that the kubeconfig names", final=True,
                     remedy="the cluster was made anew, or the context is of another one: fetch a new kubeconfig")  # fmt: skip
    if "alert" in why and "certificate" in why:
        return _Away("it does not accept the kubeconfig's client certificate, which may have expired", final=True,
                     remedy="fetch a new kubeconfig")  # fmt: skip
    return _Away(" ".join(why.split()))


def read_lines(answer: Any) -> Iterator[str]:
    """The lines of a streamed answer while they come."""
    rest = b""
    for chunk in answer.stream(2**14):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")


def _content(body: Any) -> Any:
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        return json.loads(text)
    except ValueError:
        return text
