"""The operator's admission and watches on kopf, the least there can be: our handlers behind its webhooks, objects kept by events.

There is no loop here, no plan of what was admitted late, no lease and no guard: what is left is what the framework itself takes.
"""

import base64
import json
import os
from pathlib import Path

import jsonpatch
import kopf

from benchmarks.watched_fleet import models
from kserve_ext.operator.admission import Admission
from kserve_ext.operator.planner import Planner
from kserve_ext.operator.services import merge_patch

KNOWN = {}
admission = None


@kopf.on.startup()
def configure(settings, **_):
    global admission
    known = models()
    admission = Admission(Planner(), lambda: known, lambda: None)
    folder = Path(os.environ["TLS"])
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1", port=int(os.environ["PORT"]), certfile=folder / "tls.crt", pkeyfile=folder / "tls.key"
    )
    settings.posting.enabled = False
    settings.peering.standalone = True


@kopf.on.mutate("serving.kserve.io", "v1beta1", "inferenceservices", id="mutate")
async def mutate(body, uid, patch, warnings, operation, **_):
    found = dict(body)
    answer = (await admission.mutate({"request": {"uid": "u", "operation": operation, "object": found}}))["response"]
    warnings.extend(answer.get("warnings", ()))
    if not answer["allowed"]:
        raise kopf.AdmissionError(answer["status"]["message"], code=answer["status"]["code"])
    if "patch" in answer:
        operations = json.loads(base64.b64decode(answer["patch"]))
        patch.update(merge_patch(found, jsonpatch.apply_patch(found, operations)))


@kopf.on.validate("serving.kserve.io", "v1beta1", "inferenceservices", id="validate")
async def validate(body, warnings, operation, **_):
    answer = (await admission.validate({"request": {"uid": "u", "operation": operation, "object": dict(body)}}))[
        "response"
    ]
    warnings.extend(answer.get("warnings", ()))
    if not answer["allowed"]:
        raise kopf.AdmissionError(answer["status"]["message"], code=answer["status"]["code"])


def keep(body, name, namespace, **_):
    KNOWN[body["kind"], namespace, name] = dict(body)


for group, version, plural in (
    ("serving.kserve.io", "v1beta1", "inferenceservices"), ("serving.knative.dev", "v1", "revisions"),
    ("autoscaling.internal.knative.dev", "v1alpha1", "podautoscalers"), ("", "v1", "pods"), ("", "v1", "nodes"),
    ("", "v1", "resourcequotas"), ("", "v1", "configmaps"),
):  # fmt: skip
    kopf.on.event(group, version, plural)(keep)
