"""KServe's controller without cert-manager: the webhook's certificate is our own."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.cluster.parts.knative import DOMAIN
from e2e.cluster.parts.objects import Object, fitted, parse, read
from e2e.cluster.settings import Settings
from e2e.cluster.work import Log

NAMESPACE = "kserve"
GATEWAY = "kserve/kserve-ingress-gateway"
_SERVICE = f"kserve-webhook-server-service.{NAMESPACE}.svc"
_SIDECAR = {"cpuRequest": "10m", "memoryRequest": "32Mi"}


def objects(given: Settings, module: Path, kubectl: Path, log: Log) -> Iterator[Object]:
    """Definitions, webhooks, controller and configuration."""
    pki = _certificate(log)
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "kserve-webhook-server-cert", "namespace": NAMESPACE},
        "data": pki,
    }
    rendered = parse(log.read(kubectl, "kustomize", module / "config" / "default"))
    for each in fitted(rendered, lambda container: given.kserve_image("kserve-manager")):
        if not each["apiVersion"].startswith("cert-manager.io/"):
            yield _trusting(_alone(each), pki["ca.crt"])
    yield _configuration(given, next(read(module / "config" / "configmap" / "inferenceservice.yaml")))


def _alone(each: Object) -> Object:
    """The manager without the proxy before its metrics, which is an image of another project."""
    if each["kind"] == "Deployment":
        pod = each["spec"]["template"]["spec"]
        pod["containers"] = [one for one in pod["containers"] if one["name"] != "kube-rbac-proxy"]
    return each


def _trusting(each: Object, authority: str) -> Object:
    clients = [webhook["clientConfig"] for webhook in each.get("webhooks", [])]
    if each["kind"] == "CustomResourceDefinition" and (hook := each["spec"].get("conversion", {}).get("webhook")):
        clients.append(hook["clientConfig"])
    for client in clients:
        client["caBundle"] = authority
    return each


def _configuration(given: Settings, each: Object) -> Object:
    data = each["data"]
    data.pop("_example", None)
    agent = {"image": given.kserve_image("kserve-agent"), **_SIDECAR}
    changes: dict[str, dict[str, Any]] = {
        "agent": agent,
        "logger": agent,
        "batcher": agent,
        "router": {"image": given.kserve_image("kserve-router"), **_SIDECAR},
        "storageInitializer": {
            "image": given.kserve_image("storage-initializer"),
            "cpuRequest": "10m",
            "memoryRequest": "64Mi",
        },
        "ingress": {
            "disableIstioVirtualHost": True,
            "ingressClassName": "kourier",
            "ingressDomain": DOMAIN,
            **({"enableGatewayApi": True, "kserveIngressGateway": GATEWAY} if given.which == "full" else {}),
        },
        "inferenceService": {
            "resource": {"cpuLimit": "1", "memoryLimit": "2Gi", "cpuRequest": "50m", "memoryRequest": "128Mi"}
        },
    }
    for key, change in changes.items():
        data[key] = json.dumps({**json.loads(data[key]), **change}, indent=1)
    return each


def _certificate(log: Log) -> dict[str, str]:
    """Authority, certificate and key for the webhook, as a Secret's data."""
    folder = log.path.parent / "pki"
    folder.mkdir(exist_ok=True)
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
    log.run(
        *new, "-x509", "-days", "3650", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=kserve-ext-e2e", cwd=folder
    )
    log.run(*new, "-keyout", "tls.key", "-out", "tls.csr", "-subj", f"/CN={_SERVICE}", cwd=folder)
    (folder / "names").write_text(
        f"subjectAltName=DNS:{_SERVICE},DNS:{_SERVICE}.cluster.local\nextendedKeyUsage=serverAuth\n"
    )
    signing = ("openssl", "x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
    log.run(*signing, "-days", "3650", "-extfile", "names", "-out", "tls.crt", cwd=folder)
    return {name: base64.b64encode((folder / name).read_bytes()).decode() for name in ("ca.crt", "tls.crt", "tls.key")}
