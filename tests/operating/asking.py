"""A service, its model, and the reviews that an API server would ask, for tests of admission."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from typing import Any

from factories import profile

from kserve_ext.lint.facts import ClusterFacts
from kserve_ext.operator.admission import Admission
from kserve_ext.operator.models import LABEL, Models, read_model
from kserve_ext.operator.planner import Planner
from kserve_ext.profile import store

CONFIG = 'name: "m"\nbackend: "onnxruntime"\nmax_batch_size: 16\n'


def models(namespace: str = "team") -> Models:
    """The model `m` with a profile on a CPU, in a ConfigMap."""
    data = {"profile.cpu.json": store.dump(profile()), "config.m.pbtxt": CONFIG}
    configmap = {"metadata": {"name": "m", "namespace": namespace, "labels": {LABEL: "m"}}, "data": data}
    return Models(known={(namespace, "m"): read_model(configmap)}, shared="kserve-ext")


def service(*, slo: str = "60ms", rate: str = "50..300rps", **more: str) -> dict[str, Any]:
    """An InferenceService as a person writes it; `more` are annotations of ours."""
    annotations = {
        "serving.kserve.io/deploymentMode": "Knative",
        "kserve-ext.dev/slo-p99": slo,
        "kserve-ext.dev/rate": rate,
    }
    annotations |= {f"kserve-ext.dev/{key.replace('_', '-')}": value for key, value in more.items()}
    model = {"modelFormat": {"name": "triton"}, "storageUri": "pvc://models/m"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": "digits", "namespace": "team", "annotations": annotations},
        "spec": {"predictor": {"model": model}},
    }  # fmt: skip


def admission(known: Models | None = None, facts: ClusterFacts | None = None, **more: Any) -> Admission:
    """Both webhooks, planning where they are asked."""
    found = known or models()
    return Admission(Planner(0), lambda: found, lambda: facts, **more)


def body(found: dict[str, Any], old: dict[str, Any] | None = None, *, dry_run: bool = False) -> dict[str, Any]:
    """What the API server sends."""
    request = {
        "uid": "u",
        "operation": "UPDATE" if old else "CREATE",
        "object": found,
        "oldObject": old,
        "dryRun": dry_run,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def mutated(
    found: dict[str, Any], old: dict[str, Any] | None = None, *, asked: Admission | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The object as it is stored, and the webhook's response."""
    response = asyncio.run((asked or admission()).mutate(body(found, old)))["response"]
    return patched(found, response), response


def patched(found: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """The object with the response's JSON patch."""
    result = copy.deepcopy(found)
    for operation in json.loads(base64.b64decode(response["patch"])) if "patch" in response else ():
        keys = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")[1:]]
        parent = result
        for key in keys[:-1]:
            parent = parent[key]
        if operation["op"] == "remove":
            del parent[keys[-1]]
        else:
            parent[keys[-1]] = operation["value"]
    return result
