"""What a watch knows, and whether it may still be believed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from kserve_ext.cluster.api import AbsentKindError
from kserve_ext.errors import UnreachableError
from kserve_ext.operator.store import Kind, Store

POD = {"metadata": {"namespace": "team", "name": "a", "resourceVersion": "2"}}


class Api:
    """Lists one pod, then does as `then` says: a watch that ends in an error, or goes on until the test ends."""

    def __init__(self, then: str = "") -> None:
        self.then, self.ended = then, threading.Event()

    def list_at(self, *asked: Any, **where: Any) -> tuple[tuple[Any, ...], str]:
        if self.then == "absent":
            raise AbsentKindError("no such kind")
        return (POD,), "1"

    def watch(self, *asked: Any, **where: Any) -> Iterator[Any]:
        yield {"type": "ADDED", "object": {"metadata": {**POD["metadata"], "name": "b"}}}
        if self.then == "away":
            raise UnreachableError("the API server does not answer")
        if self.then == "too old":
            yield {"type": "ERROR", "object": {"code": 410}}
        self.ended.wait(10)


def store(api: Api) -> Store:
    found = Store(api, Kind(api_version="v1", kind="Pod"))  # type: ignore[arg-type]
    found._ended = api.ended
    found.start()
    assert found.listed.wait(10)
    return found


def test_a_watch_keeps_what_it_listed_and_what_came_since() -> None:
    api = Api()
    found = store(api)
    assert found.current.wait(10)
    while len(found.known()) < 2:
        pass
    assert found.known() == (("team", "a"), ("team", "b"))
    api.ended.set()


def test_what_is_known_stays_while_the_server_is_away_but_is_not_taken_for_current() -> None:
    api = Api("away")
    found = store(api)
    while found.current.is_set():
        pass
    assert found.listed.is_set()
    assert ("team", "b") in found.known()
    api.ended.set()


def test_a_kind_that_is_not_installed_is_a_kind_of_which_there_is_nothing() -> None:
    api = Api("absent")
    found = store(api)
    assert found.current.wait(10)
    assert found.known() == ()
    api.ended.set()
