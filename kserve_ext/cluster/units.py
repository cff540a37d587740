"""Which objects are applied together: one InferenceService with what it needs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kserve_ext.cluster.objects import SERVICE, Object, check_namespaces, dig, in_namespace, in_order, services
from kserve_ext.errors import InputError, Problem

OWNER = "kserve-ext.dev/service"  # label: the InferenceService that an object was applied with


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is applied together, in the order to apply it; every namespaced object says its namespace."""

    service: str
    namespace: str
    objects: tuple[Object, ...]


def units_of(objects: Sequence[Object], *, namespace: str, asked: str = "") -> tuple[Unit, ...]:
    """A unit for each InferenceService among the objects, with those that are its own by name or reference.

    `asked` is a namespace asked for by name, and contradicts another one in a manifest; `namespace` is the one meant
    where nothing says one. Raises InputError.
    """
    found = services(objects)
    if not found:
        kinds = ", ".join(sorted({str(one["kind"]) for one in objects})) or "nothing"
        raise InputError(Problem(what="no InferenceService to apply", found=kinds))
    if asked:
        check_namespaces(objects, asked)
    owners = {id(one): _owner(one, found) for one in objects}
    return tuple(_unit(one, [each for each in objects if owners[id(each)] is one], asked or namespace) for one in found)


def is_rendered(objects: Sequence[Object]) -> bool:
    """Whether these objects are a rendered bundle: each service has its plan beside it."""
    plans = {one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"}
    found = services(objects)
    return bool(found) and all(f"{one['metadata']['name']}-plan" in plans for one in found)


def _unit(service: Object, objects: Sequence[Object], namespace: str) -> Unit:
    inside = str(service["metadata"].get("namespace") or namespace)
    name = str(service["metadata"]["name"])
    ordered = in_order([_owned(in_namespace(one, inside), name) for one in objects])
    return Unit(service=name, namespace=inside, objects=ordered)


def _owned(found: Object, service: str) -> Object:
    """The object, labelled with its service. Not the service itself, whose labels reach its pods and make a Revision."""
    metadata = found["metadata"]
    if found["kind"] == SERVICE or "namespace" not in metadata:
        return found
    return {**found, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), OWNER: service}}}


def _owner(found: Object, owners: Sequence[Object]) -> Object:
    """The service that an object goes with: itself, the one that names it, the one whose name it starts with, the first."""
    name = str(found["metadata"]["name"])
    if found in owners:
        return found
    naming = [one for one in owners if dig(one, "spec", "predictor", "model", "runtime") == name]
    starting = [one for one in owners if name.startswith(f"{one['metadata']['name']}-")]
    longest = sorted(starting, key=lambda one: -len(str(one["metadata"]["name"])))
    return next(iter([*naming, *longest, *owners]))
