"""Objects of the cluster kept at hand by watches, so that no decision asks the API server.

One thread for each kind: list, then watch from there; after an error it waits, longer each time and not in step with
others, and lists anew.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kserve_ext.cluster.api import AbsentKindError, Cluster
from kserve_ext.errors import KserveExtError

log = logging.getLogger(__name__)

Object = Mapping[str, Any]
Key = tuple[str, str]  # namespace, name
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_WATCH_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is watched. `keep` reduces an object to what is needed of it, so that memory stays small."""

    api_version: str
    kind: str
    labels: str = ""
    namespace: str = ""
    keep: Callable[[Object], Object] = lambda found: found


class Store:
    """The objects of one kind. `changed` is called with the key after each change, on the watch's thread."""

    def __init__(self, cluster: Cluster, kind: Kind, changed: Callable[[Key], None] = lambda key: None) -> None:
        self._cluster, self.kind, self._changed = cluster, kind, changed
        self._objects: dict[Key, Object] = {}
        self._lock = threading.Lock()
        self.listed = threading.Event()  # once at least
        self.current = threading.Event()  # and followed since, as far as one can know
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to watch, on a thread of its own."""
        threading.Thread(target=self._run, name=f"watch-{self.kind.kind}", daemon=True).start()

    def stop(self) -> None:
        """End the watch with its next event."""
        self._ended.set()

    def get(self, key: Key) -> Object | None:
        """One object."""
        with self._lock:
            return self._objects.get(key)

    def all(self) -> tuple[Object, ...]:
        """Every object."""
        with self._lock:
            return tuple(self._objects.values())

    def known(self) -> tuple[Key, ...]:
        """Every key."""
        with self._lock:
            return tuple(self._objects)

    def replace(self, objects: Iterable[Object]) -> None:
        """These objects and no others."""
        found = {key_of(one): self.kind.keep(one) for one in objects}
        with self._lock:
            before, self._objects = self._objects, found
        for key in (*found, *(key for key in before if key not in found)):
            self._changed(key)

    def take(self, event: Object) -> str:
        """One watch event; the resource version that it brings."""
        found, kind = event["object"], event["type"]
        version = str((found.get("metadata") or {}).get("resourceVersion", ""))
        if kind == "BOOKMARK":
            return version
        key = key_of(found)
        with self._lock:
            if kind == "DELETED":
                self._objects.pop(key, None)
            else:
                self._objects[key] = self.kind.keep(found)
        self._changed(key)
        return version

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._ended.is_set():
            try:
                self._follow()
                self.current.clear()
                pause_s = _FIRST_PAUSE_S
            except AbsentKindError as error:  # Knative need not be there; it may come
                self.replace(())
                self.listed.set()
                self.current.set()
                log.debug("%s", error)
                self._ended.wait(_LONGEST_PAUSE_S)
            except Exception as error:  # the top of a thread: whatever the network does, the watch begins anew
                self.current.clear()
                if not isinstance(error, KserveExtError):
                    log.debug("watch of %s ended", self.kind.kind, exc_info=True)
                log.info("watch of %s: %s; again in %.0f s", self.kind.kind, error, pause_s)
                self._ended.wait(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    def _follow(self) -> None:
        kind = self.kind
        where = {"namespace": kind.namespace, "labels": kind.labels}
        objects, version = self._cluster.list_at(kind.api_version, kind.kind, **where)
        self.replace(objects)
        self.listed.set()
        self.current.set()
        while not self._ended.is_set():
            for event in self._cluster.watch(kind.api_version, kind.kind, version, timeout_s=_WATCH_S, **where):
                if event["type"] == "ERROR":  # too old a version, most often
                    return
                version = self.take(event) or version
                if self._ended.is_set():
                    return


def key_of(found: Object) -> Key:
    """An object's namespace and name."""
    metadata = found.get("metadata") or {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))
