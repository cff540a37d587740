"""What a cluster says, translated: one sentence, one remedy."""

from __future__ import annotations

from typing import Any

import pytest
from cluster.objects_of_a_cluster import event, knative_service, pod, service, snapshot, unschedulable, waiting

from kserve_ext.cluster.causes import RULES, causes

NOT_READY = knative_service(ready="digits-predictor-00001", route="False")
POD = "digits-predictor-00002-deployment-x"


def revision(reason: str, message: str, kind: str = "ContainerHealthy") -> dict[str, Any]:
    return {
        "metadata": {"name": "digits-predictor-00002"},
        "status": {"conditions": [{"type": kind, "status": "False", "reason": reason, "message": message}]},
    }


def failed_model(reason: str, message: str) -> dict[str, Any]:
    found = service(ready="False")
    found["status"]["modelStatus"] = {
        "transitionStatus": "InvalidSpec",
        "lastFailureInfo": {"reason": reason, "message": message},
    }
    return found


REQUESTS = (
    'fails to reconcile knative service: admission webhook "validation.webhook.serving.knative.dev" denied the request: '
    'validation callback failed: dry run failed with Pod "x" is invalid: spec.containers[0].resources.requests: Invalid '
    'value: "128Mi": must be less than or equal to memory limit of 64Mi'
)
TOO_LONG = (
    'fails to create NewRawKubeReconciler for predictor: failed creating host name: invalid domain name "a-b.example.com": '
    'url: Invalid value: "a-b": must be no more than 63 characters'
)
QUOTA = (
    'Error creating: pods "digits-predictor-00002-deployment-7d-x" is forbidden: exceeded quota: small, requested: '
    "limits.cpu=4, used: limits.cpu=1, limited: limits.cpu=2"
)
POD_SECURITY = (
    'Error creating: pods "digits-x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != '
    'false (container "kserve-container" must set securityContext.allowPrivilegeEscalation=false)'
)
WEBHOOK = (
    'fails to reconcile knative service: admission webhook "validation.webhook.serving.knative.dev" '
    "denied the request: validation failed: must not set the field(s): spec.template.spec.nodeSelector"
)

# name → (what is unlike a ready service, code, words of the sentence, words of the remedy)
CASES: dict[str, tuple[dict[str, Any], str, list[str], list[str]]] = {
    "a quota": (
        {"events": (event("FailedCreate", QUOTA),)},
        "quota",
        ["small", "limits.cpu=4", "limits.cpu=2"],
        ["raised"],
    ),
    "pod security": (
        {"events": (event("FailedCreate", POD_SECURITY),)},
        "pod-security",
        ["restricted:latest", "allowPrivilegeEscalation"],
        ["securityContext"],
    ),
    "a limit range": (
        {
            "events": (
                event("FailedCreate", "pods x is forbidden: maximum cpu usage per Container is 1, but limit is 4"),
            )
        },
        "limit-range",
        ["maximum cpu usage per Container is 1"],
        ["within"],
    ),
    "a service account that is not there": (
        {
            "events": (
                event(
                    "FailedCreate",
                    'pods "x" is forbidden: error looking up service account models/s3: serviceaccount "s3" not found',
                ),
            )
        },
        "service-account",
        ["s3"],
        ["serviceAccountName"],
    ),
    "requests above limits": (
        {"events": (event("InternalError", REQUESTS, kind="InferenceService", name="digits"),)},
        "requests-over-limits",
        ["128Mi", "memory", "64Mi"],
        ["beside the limits"],
    ),
    "a host name that is too long": (
        {"events": (event("InternalError", TOO_LONG, kind="InferenceService", name="digits"),)},
        "name-too-long",
        ["a-b", "63"],
        ["shorten"],
    ),
    "a podspec feature that is off": (
        {"events": (event("InternalError", WEBHOOK, kind="InferenceService", name="digits"),)},
        "knative-refuses",
        ["nodeSelector"],
        ["config-features"],
    ),
    "no GPU free": (
        {
            "pods": (
                unschedulable(
                    "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {a: b}."
                ),
            )
        },
        "no-gpu",
        ["nvidia.com/gpu", POD],
        ["fleet show --from-cluster"],
    ),
    "no MIG slice free": (
        {
            "pods": (
                unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/mig-1g.10gb. preemption: 0/1 nodes"),
            )
        },
        "no-gpu",
        ["nvidia.com/mig-1g.10gb"],
        ["add a node"],
    ),
    "not enough CPU": (
        {"pods": (unschedulable("0/1 nodes are available: 1 Insufficient cpu."),)},
        "no-room",
        ["cpu"],
        ["add a node"],
    ),
    "a taint": (
        {
            "pods": (
                unschedulable(
                    "0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: }. preemption: none"
                ),
            )
        },
        "taint",
        ["nvidia.com/gpu"],
        ["tolerations"],
    ),
    "a taint in the words of an older scheduler": (
        {"pods": (unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint(s)."),)},
        "taint",
        ["taint"],
        ["tolerations"],
    ),
    "a node selector": (
        {"pods": (unschedulable("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),)},
        "selector",
        ["labels"],
        ["--show-labels"],
    ),
    "a claim that is not there": (
        {"pods": (unschedulable('persistentvolumeclaim "models" not found'),)},
        "volume",
        ["models"],
        ["storageUri"],
    ),
    "a claim that is not bound": (
        {"pods": (unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),)},
        "volume-unbound",
        ["no volume"],
        ["describe pvc"],
    ),
    "an image that is not there": (
        {"pods": (waiting("ImagePullBackOff", 'Back-off pulling image "kind.local/nope:1": ErrImagePull'),)},
        "image",
        ["kind.local/nope:1"],
        ["tag"],
    ),
    "an image that Knative cannot resolve": (
        {
            "revisions": (
                revision("ContainerMissing", 'Unable to fetch image "r.io/x:1": failed to resolve image to digest'),
            )
        },
        "image",
        ["r.io/x:1", "digest"],
        ["registries-skipping-tag-resolving"],
    ),
    "a model that cannot be fetched": (
        {
            "pods": (
                waiting(
                    "CrashLoopBackOff",
                    "back-off 10s",
                    init="storage-initializer",
                    ended={"exitCode": 1, "reason": "Error", "message": "HTTP 404 for http://x/y.zip"},
                ),
            )
        },
        "storage",
        ["HTTP 404"],
        ["storageUri", "logs digits"],
    ),
    "a volume that cannot be mounted": (
        {
            "events": (
                event("FailedMount", 'MountVolume.SetUp failed: configmap "c" not found', kind="Pod", name=POD),
            ),
            "pods": (pod(ready=False),),
        },
        "mount",
        ['configmap "c" not found'],
        ["ConfigMap"],
    ),
    "a secret that is not there": (
        {"pods": (waiting("CreateContainerConfigError", 'secret "key" not found'),)},
        "config",
        ['secret "key" not found'],
        ["Secrets"],
    ),
    "too little memory": (
        {"pods": (waiting("CrashLoopBackOff", "back-off", ended={"exitCode": 137, "reason": "OOMKilled"}),)},
        "memory",
        ["memory", "limit"],
        ["kserve-ext profile"],
    ),
    "a server that ends": (
        {
            "pods": (
                waiting(
                    "CrashLoopBackOff", "back-off", ended={"exitCode": 3, "reason": "Error", "message": "no such model"}
                ),
            )
        },
        "crash",
        ["exit code 3", "no such model"],
        ["logs digits --previous"],
    ),
    "a probe": (
        {
            "pods": (pod(ready=False),),
            "events": (
                event(
                    "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 400", kind="Pod", name=POD
                ),
            ),
        },
        "probe",
        ["Readiness", "400"],
        ["logs digits"],
    ),
    "a runtime that is not there": (
        {
            "service": failed_model(
                "RuntimeNotRecognized", "Waiting for runtime to become available: No ServingRuntimes nope"
            )
        },
        "no-runtime",
        ["nope"],
        ["servingruntimes"],
    ),
    "a lost race": (
        {
            "events": (
                event(
                    "InternalError",
                    'Failed to update status for InferenceService "digits": Operation cannot be fulfilled on '
                    'inferenceservices.serving.kserve.io "digits": the object has been modified; please apply your '
                    "changes to the latest version and try again",
                ),
            )
        },
        "retried",
        ["tries again"],
        ["none is needed"],
    ),
    "a deadline": (
        {
            "revisions": (
                revision("ProgressDeadlineExceeded", "Initial scale was never achieved", "ResourcesAvailable"),
            )
        },
        "deadline",
        ["Initial scale"],
        ["progress-deadline"],
    ),
}


@pytest.mark.parametrize(("unlike", "code", "said", "remedy"), CASES.values(), ids=CASES)
def test_the_cause_is_one_sentence_with_a_remedy(
    unlike: dict[str, Any], code: str, said: list[str], remedy: list[str]
) -> None:
    found = snapshot(**({"knative_service": NOT_READY, "service": service(ready="False"), "pods": ()} | unlike))
    cause = causes(found)[0]
    assert cause.code == code, cause
    assert all(word in cause.sentence for word in said), cause.sentence
    assert all(word in cause.remedy for word in remedy), cause.remedy
    assert "\n" not in cause.sentence
    assert "{" not in cause.remedy


def test_every_rule_but_the_catch_all_ones_is_met_by_a_case() -> None:
    met = {code for _, code, _, _ in CASES.values()}
    assert {rule.code for rule in RULES} - met <= {
        "unschedulable",
        "evicted",
        "invalid-predictor",
        "ingress",
        "not-reconciled",
        "model-failed",
    }


def test_a_ready_service_has_no_cause() -> None:
    assert causes(snapshot()) == ()


def test_what_is_nearest_to_the_cause_speaks_first() -> None:
    found = snapshot(
        knative_service=NOT_READY,
        pods=(unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),),
        service=service(ready="False", message="Revision not ready"),
        revisions=(revision("ProgressDeadlineExceeded", "too late", "ResourcesAvailable"),),
    )
    assert [cause.code for cause in causes(found)] == ["no-gpu", "deadline"]


def test_pods_of_the_revision_before_say_nothing_of_the_new_one() -> None:
    old = waiting("CrashLoopBackOff", "back-off", ended={"exitCode": 3, "reason": "Error"})
    old["metadata"]["labels"]["serving.knative.dev/revision"] = "digits-predictor-00001"
    assert causes(snapshot(pods=(old, pod()))) == ()


def test_an_event_of_a_pod_that_has_come_further_since_says_nothing() -> None:
    told = event("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.", kind="Pod", name=POD)
    scheduled = pod(ready=False, conditions=[{"type": "PodScheduled", "status": "True"}])
    assert causes(snapshot(events=(told,), pods=(scheduled,))) == ()
    assert [cause.code for cause in causes(snapshot(events=(told,), pods=(pod(ready=False),)))] == ["no-room"]


def test_an_event_of_long_ago_says_nothing() -> None:
    long_ago = event("FailedCreate", QUOTA, at="2026-11-30T11:00:00Z")
    assert causes(snapshot(events=(long_ago,))) == ()


def test_what_no_rule_knows_is_passed_on_in_the_words_of_the_cluster() -> None:
    odd = service(ready="False", message="the moon is full")
    odd["status"]["conditions"][0]["reason"] = "Moon"
    (cause,) = causes(snapshot(service=odd))
    assert (cause.code, "the moon is full" in cause.sentence) == ("other", True)


def test_a_race_that_kserve_lost_is_not_the_end_of_waiting_and_speaks_last() -> None:
    lost = event("InternalError", "the object has been modified; please apply your changes to the latest version")
    pulling = event("InternalError", "cannot create the ConfigMap")
    (only,) = causes(snapshot(knative_service=NOT_READY, service=service(ready="False"), pods=(), events=(lost,)))
    assert (only.code, only.final) == ("retried", False)
    both = causes(snapshot(knative_service=NOT_READY, service=service(ready="False"), pods=(), events=(lost, pulling)))
    assert [cause.code for cause in both] == ["not-reconciled", "retried"]
