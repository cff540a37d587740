"""Rules about containers: images, resources, users, secrets, and GPUs at a rollout."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kserve_ext.intent.document import Node
from kserve_ext.lint.finding import Hit, Severity, hit
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import accelerators, items, quantity
from kserve_ext.lint.project import Project
from kserve_ext.lint.service import Component, Service
from kserve_ext.lint.subjects import Pod, components, containers, pods, services, standard

_MOVING = ("latest", "main", "master", "nightly", "dev", "edge", "stable", "head")
_SECRET = re.compile(
    r"(^|_)(PASSWORD|PASSWD|SECRET|SECRET_KEY|SECRET_ACCESS_KEY|API_?KEY|ACCESS_KEY(_ID)?|AUTH_TOKEN|ACCESS_TOKEN|TOKEN"
    r"|PRIVATE_KEY|CREDENTIALS?)$",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"^(|true|false|\d+|/.*|\$\(.*\)|\{\{.*\}\})$", re.IGNORECASE)  # a path, a count, a reference


@make(
    "KX601", "mutable-image-tag", Severity.WARNING, containers,
    what="An image without a tag, or with one that moves: latest, main, nightly and the like.",
    leave="Two replicas of one service may run different servers, and a rollback brings back the new one.",
    remedy="name a version, or better a digest",
)  # fmt: skip
def mutable_tag(container: Node) -> Iterator[Hit]:
    node = container.get("image")
    if not isinstance(node.value, str) or "@sha256:" in node.value or "{{" in node.value or "$" in node.value:
        return
    name, colon, tag = node.value.rpartition("/")[2].partition(":")
    if name and (not colon or tag.lower() in _MOVING):
        yield hit(node, f"image {node.found()} {'has a tag that moves' if colon else 'has no tag: latest is pulled'}")


def _unsized(project: Project) -> Iterator[Node]:
    """Serving containers that nothing sizes: custom ones, and a runtime's where its services name no resources."""
    for component in components(project):
        if component.is_custom and component.container.get("resources").value in (None, {}):
            yield component.container
    for runtime in project.runtimes:
        users = [service for service in project.services if service.runtime is runtime]
        sized = users and all(user.predictor.container.get("resources").value for user in users)
        if not sized and runtime.container.get("resources").value in (None, {}):
            yield runtime.container


@make(
    "KX602", "no-resources", Severity.WARNING, _unsized,
    what="A serving container without resources, in a custom component or in a runtime whose services set none either.",
    leave="Without a request the scheduler packs it anywhere; without a limit threads and instances are sized for the node. "
    "KServe gives custom containers its configmap's default, 1 CPU and 2 Gi as installed.",
    remedy="set requests and limits for cpu and memory; `kserve-ext plan` computes them",
)  # fmt: skip
def no_resources(container: Node) -> Iterator[Hit]:
    if container.get("image").value is not None:
        yield hit(container, "no resources: neither requests nor limits")


@make(
    "KX603", "root-user", Severity.WARNING, pods,
    what="A container that runs as root: runAsUser 0, runAsNonRoot false, or privileged.",
    leave="A fault in the server or in a model's own code has the node within reach; clusters with the restricted pod "
    "security standard refuse the pod.",
    remedy="runAsNonRoot: true with a numeric runAsUser (1000 in Triton's image), allowPrivilegeEscalation: false",
)  # fmt: skip
def root_user(pod: Pod) -> Iterator[Hit]:
    for holder in (pod.node, *pod.containers):
        context = holder.get("securityContext")
        for name, bad in (("runAsUser", 0), ("runAsNonRoot", False), ("privileged", True)):
            node = context.get(name)
            if node.value is not None and type(node.value) is type(bad) and node.value == bad:
                yield hit(node, f"{name}: {node.text}")


@make(
    "KX604", "secret-in-env", Severity.ERROR, containers,
    what="A password, token or key written as the value of an environment variable.",
    leave="It stands in the repository, in etcd, in every revision, and in what `kubectl describe` prints.",
    remedy="use valueFrom.secretKeyRef",
)  # fmt: skip
def secret_in_env(container: Node) -> Iterator[Hit]:
    for variable in items(container.get("env")):
        name, value = variable.get("name"), variable.get("value")
        if isinstance(value.value, str) and _SECRET.search(str(name.value)) and not _HARMLESS.match(value.value):
            yield hit(value, f"{name.value} is written out")


@make(
    "KX605", "gpu-request-and-limit", Severity.ERROR, containers,
    what="A GPU or slice that is requested without an equal limit, or in parts.",
    leave="Kubernetes refuses the pod: extended resources are whole, and request and limit are equal.",
    remedy="write the same whole number in limits; requests follow",
)  # fmt: skip
def gpu_limit(container: Node) -> Iterator[Hit]:
    requested, limited = container.get("resources", "requests"), container.get("resources", "limits")
    for name in accelerators(container):
        request, limit = requested.get(name), limited.get(name)
        asked, most = quantity(request), quantity(limit)
        if asked is not None and asked != most:
            yield hit(request, f"{name}: request {request.text}, limit {limit.text or 'none'}")
        elif most is not None and most % 1:
            yield hit(limit, f"{name}: {limit.text} is not a whole number")


@make(
    "KX606", "shared-gpu-with-slo", Severity.WARNING, components,
    what="A GPU that is shared by time (nvidia.com/gpu.shared) under an SLO.",
    leave="Time-slicing isolates nothing: a profile measured alone does not hold beside neighbours. Two shares give no more "
    "compute than one.",
    remedy="a MIG slice (nvidia.com/mig-…) or a whole GPU; or profile under the neighbours' load",
)  # fmt: skip
def shared_gpu(component: Component) -> Iterator[Hit]:
    for name, node in component.accelerators.items():
        if name.endswith(".shared") and component.service.slo_p99_s is not None:
            yield hit(node, f"{name} isolates nothing, and a p99 is asked for")


@make(
    "KX607", "gpu-rollout-needs-a-spare", Severity.WARNING, standard,
    what="GPUs in Standard mode with a rolling update that starts new pods before old ones end.",
    leave="The default of 25 % rounds up to one more pod: without a spare GPU it stays Pending and the rollout hangs.",
    remedy="deploymentStrategy with rollingUpdate maxSurge 0 and maxUnavailable 1, or type Recreate",
)  # fmt: skip
def gpu_rollout(component: Component) -> Iterator[Hit]:
    strategy = component.node.get("deploymentStrategy")
    surge = strategy.get("rollingUpdate", "maxSurge").value
    if component.accelerators and strategy.get("type").value != "Recreate" and surge not in (0, "0", "0%"):
        yield hit(strategy, f"a rollout starts new pods first, each with {', '.join(component.accelerators)}")


@make(
    "KX608", "old-stock-triton", Severity.INFO, services,
    what="Triton 23.05, which is what KServe's own runtime runs, or an older one.",
    leave="It is from 2023: newer ONNX opsets and TensorRT engines do not load, and gRPC requests in flight are cancelled at "
    "shutdown (since 25.04 they drain).",
    remedy="name a runtime with a newer image, or set model.runtimeVersion",
)  # fmt: skip
def old_triton(service: Service) -> Iterator[Hit]:
    from_runtime = service.runtime.container.get("image") if service.runtime and service.runtime.is_triton else None
    version = service.predictor.container.get("runtimeVersion")
    node = version if version.value is not None else from_runtime
    if node is None or not service.is_triton:
        return
    found = re.search(r"(\d\d)\.(\d\d)(-|$)", str(node.value))
    if found and (int(found[1]), int(found[2])) <= (23, 5):
        yield hit(node, f"Triton {found[1]}.{found[2]}")


RULES = (
    mutable_tag, no_resources, root_user, secret_in_env, gpu_limit, shared_gpu, gpu_rollout, old_triton,
)  # fmt: skip
