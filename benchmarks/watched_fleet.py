"""Services on a made-up API server as KServe and Knative would keep them, and a Prometheus that counts their requests."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.watched_api import Object, WatchedApi
from kserve_ext.intent.read import read_services
from kserve_ext.operator.floors import BASE, MIN_SCALE
from kserve_ext.operator.models import Models, configmap_of, read_model
from kserve_ext.operator.planner import Planner, named
from kserve_ext.operator.records import history_configmap
from kserve_ext.operator.review import Asked, planned, service_of
from kserve_ext.policy.forecast.history import append, empty
from kserve_ext.render.bundle import to_yaml

ROOT = Path(__file__).parents[1]
OWN, TEAM = "kserve-ext", "team"
_CORE, _SERVING = "/api/v1/namespaces", "/apis/serving.kserve.io/v1beta1/namespaces"
_KNATIVE = "/apis/serving.knative.dev/v1/namespaces"
_AUTOSCALING = "/apis/autoscaling.internal.knative.dev/v1alpha1/namespaces"
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"


def manifest(name: str, slo: str = "60ms") -> Object:
    """A service as a person writes it."""
    found: Object = yaml.safe_load((ROOT / "manifests/examples/emulated.yaml").read_text())
    found["metadata"] |= {"name": name, "namespace": TEAM}
    found["metadata"]["annotations"] |= {"kserve-ext.dev/slo-p99": slo, "kserve-ext.dev/model": "emulated"}
    return found


def model_configmap() -> Object:
    """The profile of the emulated model, in the services' namespace."""
    found = configmap_of(ROOT / "model_repo", "emulated")
    found["metadata"]["namespace"] = TEAM
    return found


def models() -> Models:
    """The same as the operator reads it."""
    return Models(known={(TEAM, "emulated"): read_model(model_configmap())})


def as_planned(written: Object) -> Object:
    """The service as admission stores it."""
    (service,) = read_services(to_yaml(written), "m.yaml")
    plan = named(Planner(0).ask(service, models()).result(), service.intent)
    return planned(written, Asked(service=service_of(written, "m.yaml"), manifest=written), plan)


class Fleet:
    """Services under a made-up API server. `rps` is what each is asked for."""

    def __init__(self, api: WatchedApi, rps: float = 300.0) -> None:
        self.api, self.rps, self.names = api, rps, list[str]()
        self.rolled: dict[str, int] = {}
        api.put(f"{_CORE}/{TEAM}/configmaps/emulated-profile", model_configmap())
        for kind in ("Mutating", "Validating"):
            webhooks = [{"name": "a", "clientConfig": {"service": {"name": "kserve-ext-webhook"}}}]
            name = "admission.kserve-ext.dev"
            path = f"{_WEBHOOKS}/{kind.lower()}webhookconfigurations/{name}"
            api.put(path, {"kind": f"{kind}WebhookConfiguration", "metadata": {"name": name}, "webhooks": webhooks})
        self.deployment = f"/apis/apps/v1/namespaces/{OWN}/deployments/kserve-ext-operator"
        api.put(self.deployment, {"kind": "Deployment", "metadata": {"name": "kserve-ext-operator"}})

    def add(self, name: str, stored: Object, *, remembered_rps: float = 0.0) -> None:
        """A service that is ready; with six hours of such traffic in what the operator keeps."""
        self.names.append(name)
        stored = {**stored, "metadata": {**stored["metadata"], "name": name}}
        self.api.put(f"{_SERVING}/{TEAM}/inferenceservices/{name}", stored)
        if remembered_rps:
            now_s = time.time() // 60 * 60
            history, _ = append(empty(60, 20_160), now_s - 6 * 3600, [round(60 * remembered_rps)] * 360, 60)
            kept = history_configmap(OWN, TEAM, name, history)
            self.api.put(f"{_CORE}/{OWN}/configmaps/{kept['metadata']['name']}", kept)
        self.roll_out(name)

    def roll_out(self, name: str) -> str:
        """A new Revision takes the traffic; its name."""
        number = self.rolled[name] = self.rolled.get(name, 0) + 1
        revision = f"{name}-{number:05}"
        label = {"serving.kserve.io/inferenceservice": name}
        metadata = {"namespace": TEAM, "name": revision, "labels": label, "annotations": {MIN_SCALE: "1"}}
        self.api.put(f"{_KNATIVE}/{TEAM}/revisions/{revision}",
                     {"kind": "Revision", "metadata": metadata, "status": {"conditions": []}})  # fmt: skip
        self.scaled(name, 1)
        path = f"{_SERVING}/{TEAM}/inferenceservices/{name}"
        status = {"latestReadyRevision": revision, "latestCreatedRevision": revision,
                  "traffic": [{"revisionName": revision, "percent": 100}]}  # fmt: skip
        self.api.put(path, {**self.api.objects[path], "status": {"components": {"predictor": status}}})
        return revision

    def scaled(self, name: str, replicas: int) -> None:
        """What the autoscaler says of the live Revision, and one of its pods."""
        revision = self.latest(name)
        metadata = {"namespace": TEAM, "name": revision, "labels": {"serving.kserve.io/inferenceservice": name}}
        self.api.put(
            f"{_AUTOSCALING}/{TEAM}/podautoscalers/{revision}",
            {
                "kind": "PodAutoscaler",
                "metadata": metadata,
                "status": {"actualScale": replicas, "desiredScale": replicas},
            },
        )
        pod = {"kind": "Pod", "metadata": {**metadata, "name": f"{revision}-0"}, "status": {"phase": "Pending"}}
        self.api.put(f"{_CORE}/{TEAM}/pods/{revision}-0", pod)

    def latest(self, name: str) -> str:
        """The Revision that takes the traffic."""
        return f"{name}-{self.rolled[name]:05}"

    def delete(self, name: str) -> None:
        """Away with a service and its Revisions."""
        self.names.remove(name)
        for path in [path for path in self.api.objects if path.rpartition("/")[2].startswith(f"{name}-0")]:
            self.api.remove(path)
        self.api.remove(f"{_SERVING}/{TEAM}/inferenceservices/{name}")

    def service(self, name: str) -> Object:
        """The InferenceService as it is now."""
        return self.api.objects[f"{_SERVING}/{TEAM}/inferenceservices/{name}"]

    def min_scales(self, name: str) -> dict[str, str]:
        """min-scale of each Revision of a service."""
        return {key: notes[MIN_SCALE] for key, notes in self._annotations(name).items()}

    def floored(self, name: str) -> list[str]:
        """Revisions of a service that carry a floor."""
        return [key for key, notes in self._annotations(name).items() if BASE in notes]

    def floors(self) -> list[str]:
        """Every Revision that carries a floor."""
        found = list(self.api.objects.items())
        return [path for path, one in found if "/revisions/" in path and BASE in one["metadata"]["annotations"]]

    def _annotations(self, name: str) -> dict[str, Mapping[str, str]]:
        found = {}
        for path, one in list(self.api.objects.items()):
            if "/revisions/" in path and path.rpartition("/")[2].startswith(f"{name}-0"):
                found[path.rpartition("/")[2]] = one["metadata"]["annotations"]
        return found

    def prometheus(self, path: str, query: Mapping[str, list[str]]) -> Any:
        """What a Prometheus answers about queue-proxy's counters."""
        if path.endswith("query_range"):
            return {"status": "success", "data": {"result": []}}
        bounds = ("0.05", "0.1", "+Inf") if "_bucket" in query["query"][0] else ("",)
        result = [
            {"metric": {"k8s_namespace_name": TEAM, "kn_revision_name": self.latest(name), "le": bound},
             "value": [0, str(self.rps)]}
            for name in list(self.names) for bound in bounds
        ]  # fmt: skip
        return {"status": "success", "data": {"result": result}}


def kubeconfig(folder: Path, url: str) -> Path:
    """A kubeconfig for the server."""
    file = folder / f"kubeconfig-{url.rpartition(':')[2]}"
    context = {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": OWN}}
    file.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "here", "contexts": [context],
        "clusters": [{"name": "here", "cluster": {"server": url}}], "users": [{"name": "me", "user": {}}],
    }))  # fmt: skip
    return file
