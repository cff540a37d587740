"""How what Kubernetes, Knative and KServe say is recognised, and what it means. Data only.

The order is that of what is nearest to the cause: what keeps a pod from being made, from a node, from its image, from its
model, from answering; then what Knative and KServe themselves say.
"""

from __future__ import annotations

from dataclasses import dataclass

_IMAGE = r'(?:image|reference|object) \\?"?([^\s"\\]+)'


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`reason` and `message` are patterns; the sentence is filled with {where}, {reason}, and the message's groups."""

    code: str
    reason: str
    message: str
    sentence: str
    remedy: str
    final: bool = True


RULES: tuple[Rule, ...] = (
    # ---- no pod may be made
    Rule(
        code="quota",
        reason="FailedCreate|",
        message=r"exceeded quota: ([^,]+), requested: (.+), used: (.+), limited: ([^;]+)",
        sentence="quota {1} has no room for another pod: {2} asked for, {3} used, {4} allowed",
        remedy="ask for less (maxReplicas, resources), delete what is not needed, or have the quota raised",
    ),
    Rule(
        code="pod-security",
        reason="FailedCreate|",
        message=r'violates PodSecurity "([^"]+)": (.+)',
        sentence="the namespace's Pod Security level {1} forbids the pod: {2}",
        remedy="set what it names in the container's securityContext, or use another namespace",
    ),
    Rule(
        code="limit-range",
        reason="FailedCreate|",
        message=r"(m(?:ax|in)imum \S+ usage per \S+ is [^,\"]+)",
        sentence="a LimitRange of the namespace forbids the pod: {1}",
        remedy="ask for resources within it",
    ),
    Rule(
        code="service-account",
        reason="FailedCreate|",
        message=r'serviceaccount "([^"]+)" not found',
        sentence="there is no service account {1}",
        remedy="create it, or name another in spec.predictor.serviceAccountName",
    ),
    Rule(
        code="requests-over-limits",
        reason="InternalError|",
        message=r'requests: Invalid value: "([^"]+)": must be less than or equal to (\S+) limit of ([\w.]+)',
        sentence="the container requests {1} of {2}, more than its limit of {3}",
        remedy="write requests beside the limits: where there are none, KServe fills in those of inferenceservice-config",
    ),
    Rule(
        code="name-too-long",
        reason="InternalError|",
        message=r'Invalid value: "([^"]+)": must be no more than (\d+) characters',
        sentence="the name {1} that is made for it is longer than {2} characters",
        remedy="shorten the name of the service or of its namespace",
    ),
    Rule(
        code="knative-refuses",
        reason="InternalError|",
        message=r'(?:admission webhook "[^"]*knative[^"]*" denied the request: )(.+)',
        sentence="Knative refuses what KServe made of it: {1}",
        remedy="switch the podspec feature on in ConfigMap knative-serving/config-features, or use Standard mode; "
        "`kserve-ext lint --cluster` says which",
    ),
    # ---- no node
    Rule(
        code="no-gpu",
        reason="Unschedulable|FailedScheduling",
        message=r"Insufficient (nvidia\.com/\S+?|amd\.com/\S+?|gpu\.intel\.com/\S+?)[,.](?:\s|$)",
        sentence="no node has {1} free: {where} waits",
        remedy="free one (scale another service down), add a node that offers it, or plan for what there is: "
        "`kserve-ext fleet show --from-cluster`",
        final=False,
    ),
    Rule(
        code="no-room",
        reason="Unschedulable|FailedScheduling",
        message=r"Insufficient ([\w./-]+?)[,.](?:\s|$)",
        sentence="no node has enough {1} free: {where} waits",
        remedy="ask for less in resources, or add a node",
        final=False,
    ),
    Rule(
        code="taint",
        reason="Unschedulable|FailedScheduling",
        message=r"untolerated taint(?:\(s\))? ?\{?([^},]*)",
        sentence="the nodes that would do carry a taint that {where} does not tolerate: {1}",
        remedy="add a toleration to spec.predictor.tolerations (Knative mode needs kubernetes.podspec-tolerations)",
    ),
    Rule(
        code="selector",
        reason="Unschedulable|FailedScheduling",
        message=r"didn't match Pod's node affinity/selector",
        sentence="no node has the labels that {where} asks for",
        remedy="compare spec.predictor.nodeSelector and affinity with `kubectl get nodes --show-labels`",
    ),
    Rule(
        code="volume",
        reason="Unschedulable|FailedScheduling",
        message=r'persistentvolumeclaim "([^"]+)" not found',
        sentence="there is no PersistentVolumeClaim {1}",
        remedy="create it in this namespace, or correct storageUri",
    ),
    Rule(
        code="volume-unbound",
        reason="Unschedulable|FailedScheduling",
        message=r"unbound immediate PersistentVolumeClaims",
        sentence="the PersistentVolumeClaim has no volume yet",
        remedy="`kubectl describe pvc` says what it waits for",
        final=False,
    ),
    Rule(
        code="unschedulable",
        reason="Unschedulable|FailedScheduling",
        message=r"(?s)(.+)",
        sentence="{where} finds no node: {1}",
        remedy="`kubectl describe pod` lists what each node lacks",
        final=False,
    ),
    Rule(
        code="evicted",
        reason="Evicted|Preempted|NodeLost",
        message=r"(?s)(.*)",
        sentence="{where} was put off its node: {1}",
        remedy="give it requests that it stays within, or a higher priorityClassName",
        final=False,
    ),
    # ---- no image
    Rule(
        code="image",
        reason="ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName|ImageInspectError|Failed",
        message=rf"(?s){_IMAGE}",
        sentence="image {1} cannot be pulled: {where}",
        remedy="check name and tag, and imagePullSecrets for a private registry; in kind: `kind load docker-image`",
    ),
    Rule(
        code="image",
        reason="ContainerMissing|",
        message=r'(?:Unable to fetch|Failed to pull) image "([^"]+)":? *(.*)',
        sentence="image {1} cannot be resolved: {2}",
        remedy="check name and tag; registries that Knative cannot reach are listed in config-deployment "
        "(registries-skipping-tag-resolving)",
    ),
    Rule(
        code="image",
        reason="ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName|ImageInspectError",
        message=r"(?s)(.*)",
        sentence="the image of {where} cannot be pulled: {1}",
        remedy="check name and tag, and imagePullSecrets",
    ),
    # ---- no model
    Rule(
        code="storage",
        reason="(Error|CrashLoopBackOff|OOMKilled|ModelLoadFailed)@.*storage-initializer.*",
        message=r"(?s)(.*)",
        sentence="the model cannot be fetched: {1}",
        remedy="check storageUri, and the secret of spec.predictor.serviceAccountName for a private store; the last lines: "
        "`kserve-ext logs NAME --container storage-initializer`",
    ),
    Rule(
        code="mount",
        reason="FailedMount|FailedAttachVolume",
        message=r"(?s)(.+)",
        sentence="a volume of {where} cannot be mounted: {1}",
        remedy="check the claim, ConfigMap or Secret that it names",
    ),
    Rule(
        code="config",
        reason="CreateContainerConfigError|CreateContainerError|RunContainerError|StartError|ContainerCannotRun",
        message=r"(?s)(.*)",
        sentence="{where} cannot be started: {1}",
        remedy="check the command, the environment and the Secrets and ConfigMaps that it names",
    ),
    Rule(
        code="memory",
        reason="OOMKilled",
        message="",
        sentence="{where} took more memory than its limit and was killed",
        remedy="raise resources.limits.memory; `kserve-ext profile` measures what the model takes",
    ),
    Rule(
        code="crash",
        reason="(Error|CrashLoopBackOff|Completed|ExitCode\\d+|ModelLoadFailed)",
        message=r"(?s)exit code (\d+)(.*)",
        sentence="{where} ended with exit code {1}{2}",
        remedy="`kserve-ext logs NAME --previous` shows its last lines",
    ),
    Rule(
        code="crash",
        reason="CrashLoopBackOff|BackOff|ExitCode\\d+",
        message=r"(?s)(.*)",
        sentence="{where} ends again and again: {1}",
        remedy="`kserve-ext logs NAME --previous` shows its last lines",
    ),
    Rule(
        code="probe",
        reason="Unhealthy",
        message=r"(?s)(Readiness|Startup|Liveness) probe failed: (.*)",
        sentence="{where} runs but does not answer its {1} probe: {2}",
        remedy="a model that takes long to load is not ready until it is; `kserve-ext logs NAME` shows how far it is",
        final=False,
    ),
    # ---- not what KServe or Knative can make sense of
    Rule(
        code="no-runtime",
        reason="RuntimeNotRecognized|NoSupportingRuntime|RuntimeDisabled",
        message=r"(?s)(.*)",
        sentence="no runtime serves it: {1}",
        remedy="`kubectl get servingruntimes,clusterservingruntimes` lists them; kubectl apply -k manifests/base adds ours",
    ),
    Rule(
        code="invalid-predictor",
        reason="InvalidPredictorSpec",
        message=r"(?s)(.*)",
        sentence="KServe cannot use the predictor: {1}",
        remedy="`kserve-ext lint` on the manifest says more",
    ),
    Rule(
        code="deadline",
        reason="ProgressDeadlineExceeded",
        message=r"(?s)(.*)",
        sentence="it did not become ready within the progress deadline: {1}",
        remedy="set serving.knative.dev/progress-deadline above the time the model takes to load",
    ),
    Rule(
        code="ingress",
        reason="IngressNotConfigured|IngressNotReady|DomainConflict",
        message=r"(?s)(.*)",
        sentence="the ingress is not set up for it: {1}",
        remedy="`kubectl get pods -n knative-serving -n kourier-system`: the gateway runs?",
        final=False,
    ),
    Rule(
        code="not-reconciled",
        reason="InternalError|UpdateFailed",
        message=r"(?s)\A(?!.*the object has been modified)(.+)",
        sentence="KServe cannot reconcile it: {1}",
        remedy="change what it names; the controller's log: `kubectl logs -n kserve deploy/kserve-controller-manager`",
    ),
    Rule(
        code="model-failed",
        reason="ModelLoadFailed|RuntimeUnhealthy",
        message=r"(?s)(.+)",
        sentence="the model is not served: {1}",
        remedy="`kserve-ext logs NAME` shows why the server would not load it",
        final=False,
    ),
    Rule(
        code="retried",
        reason="InternalError|UpdateFailed",
        message="the object has been modified",
        sentence="KServe wrote at the same time as somebody else, and tries again",
        remedy="none is needed; the autoscaler, or another apply, was quicker",
        final=False,
    ),
)
