"""What the API server's refusal means: one sentence and a remedy for each, as an error with its exit code. Pure.

In: the HTTP status and the Status object of an answer. The rules are tried in order; the first that matches speaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kserve_ext.cluster.objects import dig, entries
from kserve_ext.errors import ClusterError, KserveExtError, RejectedError

RETRIED = (429, 500, 502, 503, 504)  # answers of a server that may say otherwise in a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A refusal as the API server gave it. `what` is what was asked, in words; `where` the cluster or namespace."""

    status: int
    message: str
    reason: str = ""
    causes: tuple[Mapping[str, Any], ...] = ()
    what: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of refusal: how it is recognised, the error it is, and what it says, with the match's groups."""

    code: str
    status: tuple[int, ...]
    pattern: str
    error: Callable[..., KserveExtError]
    says: str
    remedy: str


RULES: tuple[Rule, ...] = (
    Rule(
        code="credentials",
        status=(401,),
        pattern="",
        error=ClusterError,
        says="the cluster does not accept these credentials: they have expired or are not its own",
        remedy="log in again, or renew the kubeconfig; `kubectl auth whoami` asks the same",
    ),
    Rule(
        code="terminating",
        status=(403, 404, 409),
        pattern=r"namespace (\S+) because it is being terminated|NamespaceTerminating",
        error=ClusterError,
        says="namespace {namespace} is being deleted and takes nothing new",
        remedy="wait until `kubectl get namespace {namespace}` says NotFound, then create it again; what still holds it: "
        "`kubectl get namespace {namespace} -o jsonpath='{{.status.conditions}}'`",
    ),
    Rule(
        code="quota",
        status=(403,),
        pattern=r"exceeded quota: ([^,]+), requested: (.+), used: (.+), limited: (.+)",
        error=RejectedError,
        says="quota {1} has no room: {2} asked for, {3} used, {4} allowed",
        remedy="ask for less (maxReplicas, resources), delete what is not needed, or have the quota raised",
    ),
    Rule(
        code="pod-security",
        status=(403,),
        pattern=r'violates PodSecurity "([^"]+)": (.+)',
        error=RejectedError,
        says="the namespace's Pod Security level {1} forbids it: {2}",
        remedy="set what it names in the container's securityContext, or apply to a namespace with another level",
    ),
    Rule(
        code="policy",
        status=(403, 422),
        pattern=r"ValidatingAdmissionPolicy '([^']+)'.*denied request: (.+)",
        error=RejectedError,
        says="policy {1} denies it: {2}",
        remedy="change what the policy names, or ask its owner",
    ),
    Rule(
        code="rights",
        status=(403,),
        pattern=r'User "([^"]+)" cannot (\S+) resource "([^"]+)"',
        error=RejectedError,
        says="{1} may not {2} {3} in namespace {namespace}",
        remedy="ask for the right; manifests/base has a Role with the least that is needed, `kubectl auth can-i {2} {3} -n "
        "{namespace}` tests it",
    ),
    Rule(
        code="namespace",
        status=(404,),
        pattern=r'namespaces "([^"]+)" not found',
        error=RejectedError,
        says="there is no namespace {1}",
        remedy="kubectl create namespace {1}, or name another with --namespace",
    ),
    Rule(
        code="unknown-field",
        status=(400, 422, 500),
        pattern=r"\.?(\S+): field not declared in schema",
        error=RejectedError,
        says="this cluster's schema has no field {1}: its KServe is older than the manifest, or the name is misspelled",
        remedy="`kubectl explain` lists the fields it has; leave the field out, or upgrade the cluster's KServe and its CRDs",
    ),
    Rule(
        code="mode",
        status=(400, 403),
        pattern=r"deploymentMode cannot be changed from '(\w+)' to '(\w+)'",
        error=RejectedError,
        says="the deployment mode of a live InferenceService cannot be changed from {1} to {2}",
        remedy="delete the service and apply it anew, or keep {1}",
    ),
    Rule(
        code="webhook-denied",
        status=(400, 403, 422),
        pattern=r'admission webhook "([^"]+)" denied the request: (.+)',
        error=RejectedError,
        says="webhook {1} denies it: {2}",
        remedy="change what it names in the manifest",
    ),
    Rule(
        code="webhook-down",
        status=(500, 503),
        pattern=r'failed calling webhook "([^"]+)": .*?([^:]+)$',
        error=ClusterError,
        says="webhook {1} does not answer:{2}; the API server asks it before it stores anything",
        remedy="wait until its pods are ready: `kubectl get pods -n kserve`, `-n knative-serving`",
    ),
    Rule(
        code="gone-kind",
        status=(404,),
        pattern=r"the server could not find the requested resource",
        error=ClusterError,
        says="the cluster does not know this kind of object",
        remedy="install KServe's CRDs, or name another cluster with --context",
    ),
    Rule(
        code="immutable",
        status=(422,),
        pattern=r"(\S+): (?:Forbidden|Invalid value): .*immutable",
        error=RejectedError,
        says="{1} cannot be changed once it is there",
        remedy="delete the object and apply it anew",
    ),
    Rule(
        code="too-large",
        status=(413, 422),
        pattern=r"[Tt]oo (?:long|large)",
        error=RejectedError,
        says="the object is larger than the API server stores",
        remedy="make it smaller",
    ),
)


def read_answer(status: int, body: Any, *, what: str, namespace: str) -> Answer:
    """A refusal from an HTTP status and the answer's content, which should be a Status object."""
    if not isinstance(body, Mapping):
        text = " ".join(str(body or "").split())[:300]
        return Answer(status=status, message=text or f"HTTP {status}", what=what, namespace=namespace)
    causes = tuple(cause for cause in entries(body, "details", "causes") if isinstance(cause, Mapping))
    return Answer(
        status=status,
        message=str(body.get("message") or f"HTTP {status}"),
        reason=str(body.get("reason") or ""),
        causes=causes,
        what=what,
        namespace=namespace,
    )


def refusal_error(answer: Answer) -> KserveExtError:
    """The error that says what was refused, why, and what to do."""
    text = answer.message + " " + " ".join(str(dig(cause, "reason") or "") for cause in answer.causes)
    head = f"{answer.what}: " if answer.what else ""
    for rule in RULES:
        match = re.search(rule.pattern, text, re.DOTALL) if answer.status in rule.status else None
        if match:
            words = ["", *((group or "").strip() for group in match.groups())]
            fill = {"namespace": answer.namespace}
            return rule.error(head + rule.says.format(*words, **fill), remedy=rule.remedy.format(*words, **fill))
    if answer.status >= 500 or answer.status == 429:
        return ClusterError(
            f"{head}the API server answers {answer.status}: {answer.message}", remedy="try again in a moment"
        )
    fields = [f"{cause['field']}: {cause.get('message', '')}" for cause in answer.causes if cause.get("field")]
    return RejectedError(
        "\n".join([f"{head}refused: {answer.message}", *(fields if len(fields) > 1 else [])]),
        remedy="change what it names in the manifest",
    )
