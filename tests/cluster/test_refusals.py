"""What an API server refuses, and who owns a field: in words, with a remedy and the exit code."""

from __future__ import annotations

from typing import Any

import pytest

from kserve_ext.cluster.conflicts import conflict_error, read_conflicts, value_at
from kserve_ext.cluster.objects import Ref
from kserve_ext.cluster.refusals import RULES, read_answer, refusal_error

REF = Ref(api_version="serving.kserve.io/v1beta1", kind="InferenceService", namespace="models", name="digits")

# status, message, exit code, words of message and remedy
CASES: dict[str, tuple[int, str, int, list[str]]] = {
    "credentials": (401, "Unauthorized", 4, ["credentials", "expired", "kubectl auth whoami"]),
    "terminating": (
        403,
        'configmaps "x" is forbidden: unable to create new content in namespace models because it is being terminated',
        4,
        ["namespace models is being deleted", "NotFound"],
    ),
    "quota": (
        403,
        (
            'configmaps "x" is forbidden: exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=5, '
            "limited: count/configmaps=5"
        ),
        2,
        ["quota few", "count/configmaps=5 allowed", "raised"],
    ),
    "pod-security": (
        403,
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": host namespaces',
        2,
        ["restricted:latest", "host namespaces"],
    ),
    "policy": (
        422,
        "ValidatingAdmissionPolicy 'gpu-limits' with binding 'a' denied request: no GPU limit",
        2,
        ["gpu-limits", "no GPU limit"],
    ),
    "rights": (
        403,
        (
            'inferenceservices.serving.kserve.io "digits" is forbidden: User "ann" cannot patch resource "inferenceservices" in '
            'API group "serving.kserve.io" in the namespace "models"'
        ),
        2,
        ["ann may not patch inferenceservices", "kubectl auth can-i patch"],
    ),
    "namespace": (404, 'namespaces "modles" not found', 2, ["no namespace modles", "kubectl create namespace modles"]),
    "unknown-field": (
        500,
        (
            "failed to create typed patch object (models/digits; serving.kserve.io/v1beta1, Kind=InferenceService): "
            ".spec.predictor.maxReplica: field not declared in schema"
        ),
        2,
        ["spec.predictor.maxReplica", "older", "misspelled"],
    ),
    "mode": (
        403,
        (
            'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: update rejected: '
            "deploymentMode cannot be changed from 'Standard' to 'Knative'"
        ),
        2,
        ["Standard to Knative", "delete the service"],
    ),
    "webhook-denied": (
        400,
        (
            'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: MinReplicas cannot be '
            "greater than MaxReplicas"
        ),
        2,
        ["inferenceservice.kserve-webhook-server.validator", "MinReplicas cannot be greater"],
    ),
    "webhook-down": (
        500,
        (
            'Internal error occurred: failed calling webhook "inferenceservice.kserve-webhook-server.defaulter": failed to call '
            'webhook: Post "https://kserve-webhook-server-service.kserve.svc:443/x?timeout=10s": no endpoints available'
        ),
        4,
        ["does not answer", "no endpoints available", "kubectl get pods -n kserve"],
    ),
    "gone-kind": (404, "the server could not find the requested resource", 4, ["kind", "CRDs"]),
    "immutable": (
        422,
        'ConfigMap "x" is invalid: data: Forbidden: field is immutable when `immutable` is set',
        2,
        ["data", "anew"],
    ),
    "too-large": (422, "metadata.annotations: Too long: may not be more than 262144 bytes", 2, ["larger"]),
}


@pytest.mark.parametrize(("status", "message", "exit_code", "said"), CASES.values(), ids=CASES)
def test_a_refusal_says_what_why_and_what_to_do(status: int, message: str, exit_code: int, said: list[str]) -> None:
    error = refusal_error(read_answer(status, {"message": message}, what="InferenceService digits", namespace="models"))
    assert error.exit_code == exit_code
    assert all(word in f"{error.message} {error.remedy}" for word in said), (error.message, error.remedy)
    assert error.message.startswith("InferenceService digits: ")
    assert error.remedy


def test_every_rule_has_a_case() -> None:
    assert {rule.code for rule in RULES} == set(CASES)


def test_a_refusal_that_no_rule_knows_lists_every_field() -> None:
    body = {
        "message": "is invalid",
        "details": {
            "causes": [
                {"field": "spec.a", "message": "Required value"},
                {"field": "spec.b", "message": "Invalid value: 3"},
            ]
        },
    }
    error = refusal_error(read_answer(422, body, what="x", namespace=""))
    assert ("spec.a: Required value" in error.message, "spec.b" in error.message, error.exit_code) == (True, True, 2)


@pytest.mark.parametrize("body", [None, "", "<html>bad gateway</html>", b"", {}, {"message": None}])
def test_an_answer_without_a_status_object_is_an_error_all_the_same(body: Any) -> None:
    assert refusal_error(read_answer(502, body, what="x", namespace="")).exit_code == 4


CONFLICT = {
    "details": {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "field": ".spec.predictor.maxReplicas",
                "message": 'conflict with "kubectl-edit" using serving.kserve.io/v1beta1 at 2026-11-30T10:00:00Z',
            },
            {
                "reason": "FieldManagerConflict",
                "field": '.spec.predictor.containers[name="kserve-container"].image',
                "message": 'conflict with "OpenAPI-Generator" using serving.kserve.io/v1beta1',
            },
        ]
    }
}


def test_a_conflict_names_each_field_its_owner_and_both_values() -> None:
    live, ours = (
        {"spec": {"predictor": {"maxReplicas": n, "containers": [{"name": "kserve-container", "image": image}]}}}
        for n, image in ((9, "theirs"), (3, "ours"))
    )
    error = conflict_error(REF, read_conflicts(CONFLICT), live, ours)
    assert error.exit_code == 2
    assert error.fields["spec.predictor.maxReplicas"] == "kubectl-edit"
    assert (
        "spec.predictor.maxReplicas: 9 by kubectl-edit (a person with `kubectl edit`), 3 in the manifest"
        in error.message
    )
    assert "theirs by OpenAPI-Generator" in error.message
    assert "--force-conflicts" in error.remedy


def test_a_409_for_another_reason_is_no_conflict() -> None:
    assert read_conflicts({"message": "the object has been modified", "details": {"causes": []}}) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (".metadata.annotations.a.b/c", 1),
        ('.spec.list[name="x"].image', 2),
        ('.spec.words[="w"]', "w"),
        (".spec.nothing.here", None),
        (
            "",
            {"metadata": {"annotations": {"a.b/c": 1}}, "spec": {"list": [{"name": "x", "image": 2}], "words": ["w"]}},
        ),
    ],
)
def test_a_path_of_the_api_server_finds_its_value(field: str, value: Any) -> None:
    found = {"metadata": {"annotations": {"a.b/c": 1}}, "spec": {"list": [{"name": "x", "image": 2}], "words": ["w"]}}
    assert value_at(found, field) == value
