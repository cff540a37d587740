"""Looks up an InferenceService in the cluster that the environment or kubeconfig names. Needs the extra `cluster`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kserve_ext.client.endpoint import ServiceName, service_url
from kserve_ext.errors import InputError, MissingExtraError, Problem, UnreachableError

_IN_POD = "KUBERNETES_SERVICE_HOST"  # set in every pod
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def find_url(service: ServiceName) -> str:
    """The URL of the service. Raises InputError, UnreachableError or MissingExtraError."""
    try:
        import kubernetes
    except ImportError as error:
        raise MissingExtraError("kubernetes", "cluster") from error
    inside = _IN_POD in os.environ
    try:
        kubernetes.config.load_config()
    except kubernetes.config.ConfigException as error:
        what = f"no cluster to look up InferenceService {service.name} in: {error}"
        raise UnreachableError(what, remedy="give an address such as http://host:port, or set KUBECONFIG") from error
    namespace = service.namespace or _current_namespace(kubernetes, inside)
    return service_url(_fetch(kubernetes, namespace, service.name), inside=inside)


def _current_namespace(kubernetes: Any, inside: bool) -> str:
    if inside:
        return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.exists() else "default"
    _, active = kubernetes.config.list_kube_config_contexts()
    return str(active["context"].get("namespace") or "default")


def _fetch(kubernetes: Any, namespace: str, name: str) -> dict[str, Any]:
    """The InferenceService as the API returns it."""
    from urllib3.exceptions import HTTPError  # what kubernetes lets through

    try:
        found: dict[str, Any] = kubernetes.client.CustomObjectsApi().get_namespaced_custom_object(
            "serving.kserve.io", "v1beta1", namespace, "inferenceservices", name, _request_timeout=10
        )
    except kubernetes.client.ApiException as error:
        if error.status == 404:
            raise InputError(
                Problem(what=f"no InferenceService {name} in namespace {namespace}", field="where")
            ) from error
        raise UnreachableError(f"the cluster answers {error.status} {error.reason} for {namespace}/{name}") from error
    except HTTPError as error:
        raise UnreachableError(f"the cluster does not answer: {error}") from error
    return found
