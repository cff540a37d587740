"""Manifest texts in, the InferenceServices in them out, as nodes. Notes what is wrong and goes on.

Objects of other kinds are skipped, as long as there is an InferenceService among them. A `List`, as kubectl prints it,
counts as the objects in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from kserve_ext.errors import ManifestError, Problem
from kserve_ext.intent.document import Node, read_documents

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"


def find_services(texts: Sequence[tuple[str, str]], problems: list[Problem]) -> list[Node]:
    """The InferenceServices in several (file, text) pairs, in order."""
    if not texts:
        problems.append(Problem(what="no manifest given", allowed="at least one file"))
    objects = [found for file, text in texts for found in _objects(text, file, problems)]
    services = [found for found in objects if found.get("kind").value == KIND]
    if not services:
        problems += [_other(found) for found in objects]
    return services


def _objects(text: str, file: str, problems: list[Problem]) -> list[Node]:
    """The Kubernetes objects of one file, lists taken apart."""
    try:
        documents = read_documents(text, file)
    except ManifestError as error:
        problems += error.problems
        return []
    if not documents:
        problems.append(Problem(file=file, what="empty: no YAML document in it", allowed=f"kind {KIND}"))
    objects: list[Node] = []
    for document in documents:
        listed = document.get("items").value
        is_list = str(document.get("kind").value).endswith("List") and isinstance(listed, tuple)
        objects += listed if is_list and isinstance(listed, tuple) else [document]
    problems += [_other(found) for found in objects if not isinstance(found.value, dict)]
    return [found for found in objects if isinstance(found.value, dict)]


def _other(found: Node) -> Problem:
    """What an object is that is not an InferenceService."""
    if not isinstance(found.value, dict):
        return found.problem("not a Kubernetes object", allowed=f"a mapping of kind {KIND}")
    kind = found.get("kind")
    return kind.problem(f"not an {KIND}", found=kind.found(), allowed=f"{KIND} of {API_VERSION}")
