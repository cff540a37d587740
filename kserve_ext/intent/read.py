"""Manifest text in, one domain.Service per InferenceService out: what the user wants, and what the user has pinned.

Every problem of all files is found before ManifestError is raised with all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from kserve_ext.domain import Intent, Service, Slo
from kserve_ext.errors import ManifestError, Problem
from kserve_ext.intent.annotations import (
    ANNOTATIONS,
    BY_NAME,
    DOMAIN,
    NOT_INTENT,
    OPERATOR_CHOICES,
    PREFIX,
    nearest_name,
    parse_annotation,
)
from kserve_ext.intent.autoscaling import NOT_TEXT
from kserve_ext.intent.document import Node
from kserve_ext.intent.objects import API_VERSION, KIND, find_services
from kserve_ext.intent.pins import read_pins
from kserve_ext.intent.predictor import check_predictor, model_in_storage_uri, served_container
from kserve_ext.intent.scaling import check_scaling

NAME_PATTERN = r"[a-z]([-a-z0-9]{0,51}[a-z0-9])?"
# KServe calls the Knative Service NAME-predictor, and that is a DNS label of at most 63 characters.
NAME_ALLOWED = "lower-case letters, digits and -, a letter first, at most 53 characters"

_NAMESPACE_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE_ALLOWED = "lower-case letters, digits and -, at most 63 characters"
_SIMILAR_DOMAIN = 0.8  # kserve-ext.io is 0.81 like kserve-ext.dev, serving.kserve.io 0.45
_SCHEMA_REMEDY = "`kserve-ext schema` prints every annotation with what it means and what it allows"
_NEEDED = " and ".join(row.name for row in ANNOTATIONS if row.required)


def read_services(text: str, file: str) -> tuple[Service, ...]:
    """The services in one text; `file` is its name in errors. Raises ManifestError."""
    return read_many([(file, text)])


def read_many(texts: Sequence[tuple[str, str]]) -> tuple[Service, ...]:
    """The services in several (file, text) pairs, in order. Raises ManifestError."""
    problems: list[Problem] = []
    nodes = find_services(texts, problems)
    services = [service for node in nodes if (service := _service(node, problems))]
    problems += _duplicates(nodes)
    if problems:
        files = [file for file, _ in texts]
        problems.sort(key=lambda problem: (files.index(problem.file) if problem.file else -1, problem.line or 0))
        raise ManifestError(*problems, remedy=_SCHEMA_REMEDY if any(PREFIX in str(found) for found in problems) else "")
    return tuple(services)


def read_node(node: Node) -> Service:
    """The service in one node. Raises ManifestError."""
    problems: list[Problem] = []
    service = _service(node, problems)
    if service is None:
        raise ManifestError(*problems, remedy=_SCHEMA_REMEDY if any(PREFIX in str(found) for found in problems) else "")
    return service


def _service(node: Node, problems: list[Problem]) -> Service | None:
    """One service, or None where there were problems."""
    before = len(problems)
    version, predictor = node.get("apiVersion"), node.get("spec", "predictor")
    if version.value != API_VERSION:
        problems.append(version.problem(f"not an {KIND} of KServe", found=version.found(), allowed=API_VERSION))
    name = _text(node.get("metadata", "name"), NAME_PATTERN, NAME_ALLOWED, problems, required=True)
    namespace = _text(node.get("metadata", "namespace"), _NAMESPACE_PATTERN, _NAMESPACE_ALLOWED, problems)
    _check_mappings(node, problems)
    check_predictor(predictor, problems)
    values = {"model": model_in_storage_uri(predictor, problems) or name} | _annotations(node, problems)
    pins = read_pins(node, problems)
    check_scaling(node, values, problems)
    if values["model"] in [each.model for each in values.get("neighbours", ())]:
        written = node.get("metadata", "annotations", PREFIX + "neighbours")
        problems.append(written.problem("the service's own model among its neighbours", allowed="other models"))
    if len(problems) > before:
        return None
    slo = Slo(**{field.removeprefix("slo."): value for field, value in values.items() if field.startswith("slo.")})
    wanted = {field: value for field, value in values.items() if not field.startswith("slo.")}
    intent = Intent(name=name, namespace=namespace or "default", slo=slo, pins=pins, **wanted)
    return Service(manifest=node.plain(), intent=intent, source=f"{node.file}:{node.line}")


def _text(node: Node, pattern: str, allowed: str, problems: list[Problem], *, required: bool = False) -> str:
    """The text at a node, or "" where it is absent or wrong."""
    if node.value is None:
        if required:
            problems.append(node.problem("missing", found="", allowed=allowed))
        return ""
    if isinstance(node.value, str) and re.fullmatch(pattern, node.value):
        return node.value
    problems.append(node.problem("not a name that Kubernetes takes", allowed=allowed))
    return ""


def _check_mappings(node: Node, problems: list[Problem]) -> None:
    """Note what is written as a list or a scalar where fields are looked for."""
    predictor = node.get("spec", "predictor")
    resources = served_container(predictor).get("resources")
    for inner in (
        node.get("metadata"), node.get("metadata", "annotations"), node.get("spec"), predictor,
        predictor.get("annotations"), resources, resources.get("requests"), resources.get("limits"),
    ):  # fmt: skip
        if inner.value is not None and not isinstance(inner.value, dict):
            problems.append(inner.problem("not a mapping"))


def _annotations(node: Node, problems: list[Problem]) -> dict[str, Any]:
    """The values of our annotations by their field in the intent."""
    annotations = node.get("metadata", "annotations")
    for key, misplaced in node.get("spec", "predictor", "annotations").items():
        if _is_ours(key):
            problems.append(misplaced.problem("in the wrong place", found="", allowed=f"metadata.annotations[{key}]"))
    ours = {key: child for key, child in annotations.items() if _is_ours(key) and key not in NOT_INTENT}
    problems += [
        child.problem("not a choice", allowed=", ".join(OPERATOR_CHOICES[key]))
        for key, child in annotations.items()
        if key in OPERATOR_CHOICES and child.value not in OPERATOR_CHOICES[key]
    ]
    given = {key if key in BY_NAME else nearest_name(key) for key in ours}  # a misspelled key is not missing as well
    values: dict[str, Any] = {}
    for key, child in ours.items():
        if (problem := _annotation_problem(key, child, values)) is not None:
            problems.append(problem)
    if not ours:
        problems.append(annotations.problem(f"no {PREFIX} annotation", found="", allowed=f"at least {_NEEDED}"))
    for row in ANNOTATIONS if ours else ():
        if row.required and row.name not in given:
            problems.append(annotations.get(row.name).problem("missing", found="", allowed=row.allowed))
    return values


def _is_ours(key: str) -> bool:
    """Whether a key has our domain or one that was meant to be it."""
    return difflib.SequenceMatcher(None, key.partition("/")[0], DOMAIN).ratio() >= _SIMILAR_DOMAIN


def _annotation_problem(key: str, node: Node, values: dict[str, Any]) -> Problem | None:
    """Read one annotation into `values`, or say what is wrong with it."""
    row = BY_NAME.get(key)
    if row is None:
        what = f"unknown annotation, the nearest is {nearest_name(key)}"
        return node.problem(what, found=key, allowed=", ".join(known.key for known in ANNOTATIONS))
    if not isinstance(node.value, str):
        return node.problem(NOT_TEXT, found=node.found(), allowed=row.allowed)
    try:
        values[row.field] = parse_annotation(key, node.value)
    except ValueError as error:
        return node.problem("cannot be read", allowed=str(error))
    return None


def _duplicates(nodes: Sequence[Node]) -> list[Problem]:
    """Services that stand twice, by namespace and name."""
    first: dict[tuple[Any, Any], Node] = {}
    problems = []
    for node in nodes:
        name = node.get("metadata", "name")
        namespace = node.get("metadata", "namespace").plain() or "default"
        if not isinstance(name.value, str) or not isinstance(namespace, str):
            continue
        seen = first.setdefault((namespace, name.value), name)
        if seen is not name:
            what = f"a second {KIND} of this name in namespace {namespace}; the first is at {seen.file}:{seen.line}"
            problems.append(name.problem(what))
    return problems
