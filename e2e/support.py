"""What the end-to-end tests stand on: kubectl, the ingress, polling with a deadline, and what to write down on failure."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from e2e.cluster import up
from e2e.cluster.settings import PROJECT, Settings, settings
from e2e.cluster.work import Workshop

Object = dict[str, Any]
T = TypeVar("T")
DOMAIN = "example.com"
_INSTALLED = "e2e-installed"  # label of the operator's namespace: a digest of what was applied
OPERATED = "e2e-operator"  # a namespace with this label asks the operator's webhooks
_PROMETHEUS_PORT = 31090
# What is written down when a test fails, from the user's object down to the pods.
_KINDS = (
    "inferenceservices.serving.kserve.io", "services.serving.knative.dev", "revisions.serving.knative.dev",
    "podautoscalers.autoscaling.internal.knative.dev", "deployments", "pods", "events", "persistentvolumeclaims",
)  # fmt: skip


class KubectlError(AssertionError):
    """kubectl refused; its words are the message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The cluster of `make cluster`, through kubectl and through its ingress."""

    given: Settings
    program: Path
    ingress: str  # host:port for HTTP and gRPC; the service is chosen by the Host header or the authority
    nodes: Mapping[str, str] = field(default_factory=dict)  # address by name

    @property
    def kubeconfig(self) -> Path:
        return self.given.kubeconfig

    @property
    def worker(self) -> str:
        """The node with the fake GPUs."""
        return f"{self.given.name}-worker"

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, timeout_s: float = 120) -> str:
        """What kubectl prints. Raises KubectlError with what it complains about."""
        done = self.attempt(*arguments, stdin=stdin, timeout_s=timeout_s)
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise KubectlError(f"kubectl {' '.join(map(str, arguments))}: {said}")
        return done.stdout

    def attempt(
        self, *arguments: str | Path, stdin: str | None = None, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """The same where a no is an answer too."""
        command = [str(each) for each in (self.program, "--kubeconfig", self.kubeconfig, *arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)

    def apply(self, objects: Object | Sequence[Object] | str, namespace: str) -> None:
        """Apply objects, or YAML text, into a namespace."""
        text = objects if isinstance(objects, str) else _yaml([objects] if isinstance(objects, dict) else objects)
        self.kubectl("--namespace", namespace, "apply", "--server-side", "--field-manager=e2e", "-f", "-", stdin=text)

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        """One object as it is now."""
        found: Object = json.loads(self.kubectl("--namespace", namespace, "get", kind, name, "-o", "json"))
        return found

    def list(self, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """The objects of a kind."""
        options = ("-l", selector) if selector else ()
        found = json.loads(self.kubectl("--namespace", namespace, "get", kind, *options, "-o", "json"))
        items: list[Object] = found["items"]
        return items

    def patch(self, kind: str, name: str, namespace: str, change: Object) -> None:
        """Merge a change into an object."""
        merge = ("patch", kind, name, "--type=merge", "-p", json.dumps(change))
        self.kubectl("--namespace", namespace, *merge)

    def pods(self, namespace: str, selector: str = "") -> list[Object]:
        """Pods that are not on their way out: those stay Ready while they drain."""
        return [pod for pod in self.list("pods", namespace, selector) if not pod["metadata"].get("deletionTimestamp")]

    def ready_pods(self, namespace: str, selector: str = "") -> list[Object]:
        return [pod for pod in self.pods(namespace, selector) if condition(pod, "Ready") == "True"]

    def wait_ready(self, kind: str, name: str, namespace: str, *, seconds: float = 120) -> Object:
        """The object once its condition Ready is True for its newest generation; the reason it is not, when it takes too long."""

        def check() -> Object | None:
            self_now = self.get(kind, name, namespace)
            observed = self_now.get("status", {}).get("observedGeneration", self_now["metadata"]["generation"])
            settled = observed == self_now["metadata"]["generation"] and condition(self_now, "Ready") == "True"
            return self_now if settled else None

        return poll(f"{kind} {name} is ready", check, seconds=seconds, why=lambda: self._why_not(kind, name, namespace))

    def ask(
        self, host: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> Answer:
        """One request through the ingress: GET, or POST with JSON or bytes."""
        connection = http.client.HTTPConnection(self.ingress, timeout=timeout_s)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = {} if data is None else {"Content-Type": "application/json"}
        try:
            connection.request(
                "GET" if data is None else "POST", path, data, {"Host": host, **kind, **dict(headers or {})}
            )
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def metric(self, query: str) -> list[tuple[dict[str, str], float]]:
        """What Prometheus answers now: labels and value of each series."""
        address = f"{self.nodes[self.worker]}:{_PROMETHEUS_PORT}"
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request("GET", f"/api/v1/query?{urllib.parse.urlencode({'query': query})}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert answer["status"] == "success", answer
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    def write_down(self, namespace: str, folder: Path) -> Iterable[str]:
        """Put the state of a namespace into files; the lines that say most."""
        folder.mkdir(parents=True, exist_ok=True)
        for kind in _KINDS:
            text = self._anyway("--namespace", namespace, "get", kind, "-o", "yaml")
            (folder / f"{kind.split('.')[0]}.yaml").write_text(text)
        yield self._anyway("--namespace", namespace, "get", "isvc,ksvc,revisions,podautoscalers,pods", "-o", "wide")
        recent = self._anyway("--namespace", namespace, "get", "events", "--sort-by=.lastTimestamp").splitlines()[-15:]
        yield "\n".join(recent)
        for pod in self.list("pods", namespace):
            name = pod["metadata"]["name"]
            text = self._anyway("--namespace", namespace, "logs", name, "--all-containers", "--prefix", "--tail=400")
            (folder / f"{name}.log").write_text(text)

    def _anyway(self, *arguments: str) -> str:
        try:
            return self.kubectl(*arguments)
        except (KubectlError, subprocess.TimeoutExpired) as error:
            return f"# {error}\n"

    def _why_not(self, kind: str, name: str, namespace: str) -> str:
        conditions = self.get(kind, name, namespace).get("status", {}).get("conditions", [])
        said = [f"{one['type']}={one['status']} {one.get('reason', '')} {one.get('message', '')}" for one in conditions]
        return "; ".join(line.strip() for line in said) or "it has no conditions yet"


def find() -> Cluster:
    """The running cluster. Raises AssertionError that says how to get one."""
    given = settings()
    assert given.kubeconfig.is_file(), f"no cluster: {given.kubeconfig} is missing. `make cluster` makes one"
    kind = up.cluster_of(given, Workshop(cache=given.cache))
    with kind.shop.quietly("addresses") as log:
        nodes = kind.addresses(log)
    ingress = f"{nodes[kind.nodes[0]]}:{given.ingress_port}"
    if not _connects(ingress):  # the engine runs in a machine of its own: only mapped ports are reached
        ingress = f"127.0.0.1:{given.ingress_port}"
    return Cluster(given=given, program=kind.program, ingress=ingress, nodes=nodes)


def install(cluster: Cluster) -> None:
    """What `manifests` holds, once: a session beside this one may just have stopped the operator, to see what follows."""
    text = cluster.kubectl("kustomize", PROJECT / "manifests")
    mark = f"{_INSTALLED}={hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if cluster.list("namespaces", "default", mark):
        return
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", PROJECT / "manifests")
    _only_where_asked(cluster)
    cluster.kubectl("label", "--overwrite", "namespace", "kserve-ext", mark)


def _only_where_asked(cluster: Cluster) -> None:
    """The operator's webhooks for namespaces of its own tests: other tests look at what happens without it."""
    where = {"matchLabels": {OPERATED: "true"}}
    change = [{"op": "add", "path": "/webhooks/0/namespaceSelector", "value": where}]
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        cluster.kubectl("patch", kind, "admission.kserve-ext.dev", "--type=json", "-p", json.dumps(change))


def poll(
    what: str, check: Callable[[], T | None], *, seconds: float, every: float = 0.5, why: Callable[[], str] = lambda: ""
) -> T:
    """What `check` returns once that is true or an object. Raises AssertionError after the deadline, with the reason.

    A KubectlError counts as not yet: what is waited for may not be there.
    """
    end = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < end:
        try:
            if (last := check()) is not None and last is not False:
                return last  # type: ignore[return-value]
        except KubectlError as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"not within {seconds:g} s: {what}; {why() or last}")


def condition(each: Object, kind: str) -> str:
    """`True`, `False`, `Unknown`, or nothing where there is no such condition."""
    found = (one["status"] for one in each.get("status", {}).get("conditions", []) if one["type"] == kind)
    return next(found, "")


def host_of(service: str, namespace: str) -> str:
    """The name that the ingress knows an InferenceService's predictor by."""
    return f"{service}-predictor.{namespace}.{DOMAIN}"


def unique(name: str) -> str:
    """A name for a namespace that no other run has; short, as SERVICE-predictor-NAMESPACE is one label of a host name."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")[:24].rstrip("-")
    return f"e2e-{kept}-{secrets.token_hex(3)}"


def models_volume(namespace: str, path: str = "/models") -> list[Object]:
    """A claim `models` on the nodes' folder of models, and the volume behind it, for one namespace."""
    name = f"models-{namespace}"
    spec = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "e2e"}},
        "spec": {
            **spec,
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": path, "type": "Directory"},
            "claimRef": {"namespace": namespace, "name": "models"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models", "namespace": namespace},
        "spec": {**spec, "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}},
    }
    return [volume, claim]


def _connects(address: str) -> bool:
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def _yaml(objects: Sequence[Object]) -> str:
    return yaml.safe_dump_all(list(objects), sort_keys=False)


OUT = Path(os.environ.get("E2E_OUT", "out/e2e"))
