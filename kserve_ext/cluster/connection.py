"""From a kubeconfig to a cluster that can be asked: which context, which namespace. Needs the extra `cluster`."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kserve_ext.cluster.api import Cluster
from kserve_ext.errors import InputError, MissingExtraError, Problem, UnreachableError

IN_POD = "KUBERNETES_SERVICE_HOST"  # set in every pod
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_REMEDY = "set KUBECONFIG, or give --kubeconfig and --context; `kubectl config get-contexts` lists what there is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which cluster and namespace, as kubectl takes them; empty is what the kubeconfig says."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""


def connect(where: Where | None = None, *, patience_s: float = 20.0) -> Cluster:
    """The cluster. Nothing is asked of it yet. Raises InputError for a context that is not there, MissingExtraError,
    UnreachableError where nothing says which cluster.
    """
    where = where or Where()
    try:
        import kubernetes
    except ImportError as error:
        raise MissingExtraError("kubernetes", "cluster") from error
    if not where.kubeconfig and not where.context and not _kubeconfig_exists() and IN_POD in os.environ:
        return _from_pod(kubernetes, where, patience_s)
    context = _context(kubernetes, where)
    try:
        client = kubernetes.config.new_client_from_config(
            config_file=_file(where),
            context=context["name"],
            client_configuration=_configuration(kubernetes),
        )
    except (kubernetes.config.ConfigException, OSError, ValueError) as error:
        raise _unusable(where, f"context {context['name']} cannot be used: {error}") from error
    inner = context.get("context") or {}
    namespace = where.namespace or str(inner.get("namespace") or "default")
    return Cluster(client, name=str(context["name"]), namespace=namespace, patience_s=patience_s)


def _file(where: Where) -> str:
    """The kubeconfig, or several with : between them; read now, where the library looked when it was imported."""
    return where.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"


def _kubeconfig_exists() -> bool:
    return bool(os.environ.get("KUBECONFIG")) or Path("~/.kube/config").expanduser().exists()


def _context(kubernetes: Any, where: Where) -> Mapping[str, Any]:
    """The context asked for, else the current one. Raises InputError or UnreachableError."""
    import yaml

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            contexts, active = kubernetes.config.list_kube_config_contexts(config_file=_file(where))
    except (kubernetes.config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
        if where.kubeconfig or os.environ.get("KUBECONFIG"):
            raise _unusable(where, f"not a kubeconfig: {' '.join(str(error).split())}") from error
        raise UnreachableError("no kubeconfig, and not in a pod: which cluster?", remedy=_REMEDY) from error
    if not where.context:
        return dict(active)
    found = next((one for one in contexts if one.get("name") == where.context), None)
    if found is None:
        names = ", ".join(str(one.get("name")) for one in contexts)
        raise InputError(
            Problem(field="--context", what="no such context in the kubeconfig", found=where.context, allowed=names)
        )
    return dict(found)


def _unusable(where: Where, what: str) -> InputError:
    return InputError(Problem(file=_file(where), what=what), remedy=_REMEDY)


def _configuration(kubernetes: Any) -> Any:
    """Settings of a client that does not try again by itself: we do, and say so."""
    configuration = kubernetes.client.Configuration()
    configuration.retries = False
    return configuration


def _from_pod(kubernetes: Any, where: Where, patience_s: float) -> Cluster:
    """The cluster that this process runs in, as its service account."""
    configuration = _configuration(kubernetes)
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
    except kubernetes.config.ConfigException as error:
        raise UnreachableError(f"in a pod, and its service account cannot be used: {error}", remedy=_REMEDY) from error
    own = _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.exists() else "default"
    client = kubernetes.client.ApiClient(configuration)
    return Cluster(client, name="in-cluster", namespace=where.namespace or own, patience_s=patience_s)
