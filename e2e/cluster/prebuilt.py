"""The cluster from what the projects publish: kind's node image, release manifests and the images they name.

Small on purpose: it changes the published objects in the same places as the build from source does.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml

from e2e.cluster.kind import Kind, wait_for_deployments, wait_until_established
from e2e.cluster.parts import knative, monitoring
from e2e.cluster.settings import Settings
from e2e.cluster.work import Log, Missing, Workshop

_RELEASES = "https://github.com/{project}/releases/download"
_PROMETHEUS = "prom/prometheus:v3.9.1"
_CERT_MANAGER = "1.19.1"
_METRICS_SERVER = "0.8.0"


def programs() -> tuple[Path, Path]:
    """`kind` and `kubectl` on PATH. Raises Missing."""
    found = {name: shutil.which(name) for name in ("kind", "kubectl")}
    if absent := [name for name, path in found.items() if not path]:
        raise Missing(f"SOURCE=prebuilt needs {' and '.join(absent)} on PATH")
    return Path(str(found["kind"])), Path(str(found["kubectl"]))


def create(given: Settings, shop: Workshop) -> Kind:
    """A cluster with everything of the base set. Raises Missing for what only the build from source has."""
    if given.which != "base":
        raise Missing("SOURCE=prebuilt has the base set only: the full one is built from source")
    cluster = Kind(given, shop, *programs())
    cluster.ensure(f"kindest/node:v{given.kubernetes}")
    with shop.step("install") as log:
        for file in _files(given):
            cluster.kubectl(log, "apply", "--server-side", "--force-conflicts", "-f", file)
            wait_until_established(cluster, log)
            if "cert-manager" in file:
                wait_for_deployments(cluster, ["cert-manager"], log)
        _configure(cluster, log)
    with shop.step("ready") as log:
        wait_for_deployments(cluster, ["knative-serving", "kourier-system", "kserve", "kube-system", "monitoring"], log)
    return cluster


def _files(given: Settings) -> list[str]:
    def at(project: str, tag: str, name: str) -> str:
        return f"{_RELEASES.format(project=project)}/{tag}/{name}"

    serving = f"knative-v1.{int(given.knative.split('.')[1]) - 27}.{given.knative.split('.')[2]}"  # 0.48 is 1.21
    kourier = f"knative-v1.{int(given.kourier.split('.')[1]) - 27}.{given.kourier.split('.')[2]}"
    return [
        at("cert-manager/cert-manager", f"v{_CERT_MANAGER}", "cert-manager.yaml"),
        at("knative/serving", serving, "serving-crds.yaml"),
        at("knative/serving", serving, "serving-core.yaml"),
        at("knative-extensions/net-kourier", kourier, "kourier.yaml"),
        at("kserve/kserve", f"v{given.kserve}", "kserve.yaml"),
        at("kubernetes-sigs/metrics-server", f"v{_METRICS_SERVER}", "components.yaml"),
    ]


def _configure(cluster: Kind, log: Log) -> None:
    given = cluster.given
    for name, data in knative.config(given).items():
        patch = json.dumps({"data": data})
        cluster.kubectl(log, "--namespace", "knative-serving", "patch", "configmap", name, "--type=merge", "-p", patch)
    port = {"spec": {"type": "NodePort", "ports": [{"port": 80, "name": "http2", "nodePort": given.ingress_port}]}}
    kourier = (
        "--namespace",
        "kourier-system",
        "patch",
        "service",
        "kourier",
        "--type=strategic",
        "-p",
        json.dumps(port),
    )
    cluster.kubectl(log, *kourier)
    cluster.kubectl(log, "--namespace", "knative-serving", "rollout", "restart", "deployment")
    insecure = [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--kubelet-insecure-tls"}]
    server = ("--namespace", "kube-system", "patch", "deployment", "metrics-server", "--type=json", "-p")
    cluster.kubectl(log, *server, json.dumps(insecure))
    objects = list(monitoring.prometheus())
    for each in objects:
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["containers"][0]["image"] = _PROMETHEUS
    cluster.kubectl(log, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))
