"""The URL of an InferenceService, from the object as the cluster returns it; and what a client's first argument means.

Pure: the object is fetched by `cluster`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kserve_ext.bench.target import URL_ALLOWED
from kserve_ext.errors import InputError, Problem, UnreachableError

PROTOCOL_ANNOTATION = "kserve-ext.dev/protocol"
_NAME = re.compile(r"(?:([a-z0-9][a-z0-9-]*)/)?([a-z0-9][a-z0-9-]*)")
WHERE_ALLOWED = f"{URL_ALLOWED}; or an InferenceService: NAME or NAMESPACE/NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceName:
    """An InferenceService; the namespace is empty where the cluster's current one is meant."""

    name: str
    namespace: str = ""


def service_name(where: str) -> ServiceName | None:
    """The InferenceService that `where` names; None when it is an address. Raises InputError when it is neither."""
    if ":" in where:
        return None
    match = _NAME.fullmatch(where)
    if match is None:
        raise InputError(
            Problem(what="no address and no service", field="where", found=repr(where), allowed=WHERE_ALLOWED)
        )
    return ServiceName(name=match[2], namespace=match[1] or "")


def service_url(service: Mapping[str, Any], *, inside: bool) -> str:
    """The URL to reach an InferenceService at: its address in the cluster from `inside`, else its public one.

    gRPC when the service's annotation or its container's port says so. Raises UnreachableError while it has no URL.
    """
    status = service.get("status") or {}
    inner, outer = (status.get("address") or {}).get("url"), status.get("url")
    url = (inner or outer) if inside else (outer or inner)
    name = service.get("metadata", {}).get("name", "")
    if not url:
        raise UnreachableError(
            f"InferenceService {name} has no URL yet: {_not_ready(status)}", remedy=f"kubectl describe isvc {name}"
        )
    parts = urlsplit(str(url))
    if not _speaks_grpc(service):
        return f"{parts.scheme}://{parts.netloc}"
    port = "" if parts.port else ":443" if parts.scheme == "https" else ":80"
    return f"{'grpcs' if parts.scheme == 'https' else 'grpc'}://{parts.netloc}{port}"


def _not_ready(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("message"):
            return str(condition["message"])
    return "not ready"


def _speaks_grpc(service: Mapping[str, Any]) -> bool:
    annotations = service.get("metadata", {}).get("annotations") or {}
    if PROTOCOL_ANNOTATION in annotations:
        return bool(annotations[PROTOCOL_ANNOTATION] == "grpc")
    predictor = service.get("spec", {}).get("predictor") or {}
    containers = [predictor.get("model") or {}, *(predictor.get("containers") or ())]
    names = {str(port.get("name", "")) for container in containers for port in container.get("ports") or ()}
    return any(name == "h2c" or name.startswith("grpc") for name in names)
