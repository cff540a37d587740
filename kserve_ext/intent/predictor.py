"""Which part of `spec.predictor` serves the model, and the model's name in its storageUri.

One of `model`, the old `triton` (KServe turns it into `model`), or the containers of a custom predictor. The old keys
of other servers are refused: they do not run on Triton. Problems are noted, and reading goes on.
"""

from __future__ import annotations

import re

from kserve_ext.errors import Problem
from kserve_ext.intent.document import Node

MAIN_CONTAINER = "kserve-container"  # KServe's name for the container that answers requests
OTHER_SERVERS = ("sklearn", "xgboost", "tensorflow", "pytorch", "onnx", "huggingface", "pmml", "lightgbm", "paddle")
SERVED_BY = "exactly one of model, triton, containers"

_MODEL_IN_URI = re.compile(r"[a-z0-9+.-]+://[^/]+/(?:.*/)?([^/]+?)/*")
_MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # a dot means a file, digits alone a version folder


def served_container(predictor: Node) -> Node:
    """The node with storageUri and resources; one without a value if there is none."""
    for key in ("model", "triton"):
        if predictor.get(key).value is not None:
            return predictor.get(key)
    containers = predictor.get("containers").value
    if not isinstance(containers, tuple) or not containers:
        return predictor.get("model")
    return next((found for found in containers if found.get("name").value == MAIN_CONTAINER), containers[0])


def check_predictor(predictor: Node, problems: list[Problem]) -> None:
    """Note what stands in the way of knowing which server this is."""
    servers = [key for key in ("model", "triton") if predictor.get(key).value is not None]
    for key in OTHER_SERVERS:
        if predictor.get(key).value is not None:
            allowed = "model with modelFormat triton"
            problems.append(predictor.get(key).problem("not served by Triton", found=key, allowed=allowed))
            servers.append(key)
    if len(servers) > 1:
        problems.append(predictor.problem("several servers", found=", ".join(servers), allowed=SERVED_BY))
    served = served_container(predictor)
    if not servers and served.value is None:
        problems.append(predictor.problem("nothing that serves a model", found="", allowed=SERVED_BY))
    elif served.value is not None and not isinstance(served.value, dict):
        problems.append(served.problem("not a mapping"))


def model_in_storage_uri(predictor: Node, problems: list[Problem]) -> str | None:
    """The last part of storageUri's path where it can be a model's folder: `pvc://models/digits` -> `digits`."""
    uri = served_container(predictor).get("storageUri")
    if uri.value is None:
        return None
    if not isinstance(uri.value, str):
        problems.append(uri.problem("not text", allowed="a URI such as pvc://models/digits"))
        return None
    last = _MODEL_IN_URI.fullmatch(uri.value)
    return last[1] if last and _MODEL_NAME.fullmatch(last[1]) else None
