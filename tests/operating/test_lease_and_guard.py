from __future__ import annotations

import threading
from typing import Any

from kserve_ext.errors import RejectedError
from kserve_ext.operator.floors import BASE, MIN_SCALE
from kserve_ext.operator.guard import FLOORS_LEASE, guard
from kserve_ext.operator.lease import Lease


class Objects:
    """Leases and Revisions as an API server keeps them: a merge with an old resource version is refused."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], dict[str, Any]] = {}
        self.merges = 0

    def get(self, ref: Any) -> dict[str, Any] | None:
        return self.found.get((ref.kind, ref.name))

    def apply(self, wanted: dict[str, Any], *, force: bool = False) -> dict[str, Any]:
        metadata = {**wanted["metadata"], "resourceVersion": "1"}
        self.found[wanted["kind"], metadata["name"]] = {**wanted, "metadata": metadata}
        return wanted

    def merge(self, ref: Any, change: dict[str, Any]) -> dict[str, Any] | None:
        now = self.found[ref.kind, ref.name]
        version = change.get("metadata", {}).get("resourceVersion")
        if version not in (None, now["metadata"]["resourceVersion"]):
            raise RejectedError("the object has been modified")
        self.merges += 1
        notes = {**now["metadata"].get("annotations", {}), **change.get("metadata", {}).get("annotations", {})}
        metadata = {**now["metadata"], "resourceVersion": str(self.merges + 1),
                    "annotations": {key: value for key, value in notes.items() if value is not None}}  # fmt: skip
        spec = {**now.get("spec", {}), **change.get("spec", {})}
        self.found[ref.kind, ref.name] = {**now, "metadata": metadata, "spec": spec}
        return self.found[ref.kind, ref.name]

    def list(self, api_version: str, kind: str, *, labels: str = "") -> tuple[dict[str, Any], ...]:
        return tuple(found for (each, _), found in self.found.items() if each == kind)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lease(objects: Objects, identity: str, clock: Time, name: str = "leader") -> Lease:
    return Lease(objects, namespace="own", name=name, identity=identity, duration_s=15, monotonic=clock)  # type: ignore[arg-type]


def floored() -> Objects:
    objects = Objects()
    notes = {MIN_SCALE: "4", BASE: "1"}
    objects.found["Revision", "a-00001"] = {
        "kind": "Revision", "metadata": {"namespace": "team", "name": "a-00001", "resourceVersion": "1", "annotations": notes},
    }  # fmt: skip
    return objects


def min_scale(objects: Objects) -> str:
    notes: dict[str, str] = objects.found["Revision", "a-00001"]["metadata"]["annotations"]
    return notes[MIN_SCALE]


def test_one_of_two_leads_and_the_other_when_it_is_silent_for_the_leases_time() -> None:
    objects, clock = Objects(), Time()
    first, second = lease(objects, "first", clock), lease(objects, "second", clock)
    assert first.hold()
    assert not second.hold()
    clock.now = 14.0
    assert first.hold()
    clock.now = 28.0
    assert not second.hold()  # it has seen the renewal only now
    clock.now = 43.5
    assert second.hold()
    assert not first.hold()


def test_a_released_lease_is_taken_at_once() -> None:
    objects, clock = Objects(), Time()
    first, second = lease(objects, "first", clock), lease(objects, "second", clock)
    assert first.hold()
    first.release()
    assert second.hold()


def test_who_was_slower_is_refused_by_the_resource_version() -> None:
    objects, clock = Objects(), Time()
    assert lease(objects, "first", clock).hold()
    lease(objects, "first", clock).release()

    class Slower(Objects):
        def get(self, ref: Any) -> dict[str, Any] | None:
            found = super().get(ref)
            assert lease(objects, "first", clock).hold()  # between the look and the write
            self.found = objects.found
            return found

    slower = Slower()
    slower.found = dict(objects.found)
    assert not lease(slower, "second", clock).hold()


def look_once(objects: Objects, clock: Time, floors: Lease) -> None:
    ended = threading.Event()
    timer = threading.Timer(0.05, ended.set)
    timer.start()
    guard(objects, floors, ended, every_s=10.0)  # type: ignore[arg-type]
    timer.join()


def test_floors_stay_while_they_are_renewed_and_go_when_nobody_renews_them() -> None:
    objects, clock = floored(), Time()
    operator = lease(objects, "operator", clock, FLOORS_LEASE)
    floors = lease(objects, "", clock, FLOORS_LEASE)
    operator.renew()
    look_once(objects, clock, floors)
    assert min_scale(objects) == "4"
    clock.now = 14.0
    look_once(objects, clock, floors)
    assert min_scale(objects) == "4"
    clock.now = 15.0
    look_once(objects, clock, floors)
    assert min_scale(objects) == "1"
    assert BASE not in objects.found["Revision", "a-00001"]["metadata"]["annotations"]


def test_a_clock_that_jumps_removes_no_floor() -> None:
    """Only what changes is seen: the time that is written in the Lease is never compared with a clock."""
    objects, clock = floored(), Time()
    floors = lease(objects, "", clock, FLOORS_LEASE)
    lease(objects, "operator", clock, FLOORS_LEASE).renew()
    objects.found["Lease", FLOORS_LEASE]["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"
    look_once(objects, clock, floors)
    assert min_scale(objects) == "4"


def test_floors_without_any_lease_go() -> None:
    objects, clock = floored(), Time()
    look_once(objects, clock, lease(objects, "", clock, FLOORS_LEASE))
    assert min_scale(objects) == "1"
