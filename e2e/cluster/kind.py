"""The kind cluster itself: created, looked at, removed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster import engine, images, node_image
from e2e.cluster.settings import Settings
from e2e.cluster.work import Log, Workshop, key_of

MODELS = "/models"  # the settings' models folder, on every node
WORKER_LABELS = {"nvidia.com/gpu.present": "true", "kserve-ext.dev/gpus": "fake"}
_SERVICES = "10.96.0.0/16"  # kind's default range of service addresses
_ATTEMPTS = 10  # a second apart


class Kind:
    """One cluster by name, through the programs `kind` and `kubectl`."""

    def __init__(self, given: Settings, shop: Workshop, kind: Path, kubectl: Path) -> None:
        self.given, self.shop, self.kind, self.program = given, shop, kind, kubectl

    @property
    def nodes(self) -> list[str]:
        """The worker last."""
        return [f"{self.given.name}-control-plane", f"{self.given.name}-worker"]

    def kubectl(self, log: Log, *arguments: str | Path, **more: Any) -> str:
        """What kubectl prints."""
        return log.read(self.program, "--kubeconfig", self.given.kubeconfig, *arguments, **more)

    def ensure(self, image: str) -> None:
        """A cluster of this image and configuration whose API server answers: the one that is there, or a new one."""
        config = self._config()
        key = key_of([images.label(image) or image, config])
        mark = self._beside("key")
        if mark.is_file() and mark.read_text() == key and self._answers():
            self.shop.line("kind-create", "running", 0.0)
        else:
            self._create(image, config)
            mark.write_text(key)
        with self.shop.step("kind-settle") as log:
            self._settle(log)

    def _create(self, image: str, config: dict[str, Any]) -> None:
        self.delete()
        self.given.models.mkdir(parents=True, exist_ok=True)
        with self.shop.step("kind-create") as log:
            name = ("--name", self.given.name, "--kubeconfig", self.given.kubeconfig)
            options = ("--image", image, "--config", "-", "--wait", "180s")
            log.run(self.kind, "create", "cluster", *name, *options, stdin=yaml.safe_dump(config))

    def offer_gpus(self) -> None:
        """Let the worker count GPUs and slices that are not there. kubelet keeps what it did not report itself."""
        counts = {"nvidia.com/gpu": str(self.given.gpus), "nvidia.com/mig-1g.10gb": str(self.given.mig_slices)}
        patch = {"status": {"capacity": counts, "allocatable": counts}}
        with self.shop.step("fake-gpus") as log:
            labels = [f"{key}={value}" for key, value in WORKER_LABELS.items()]
            self.kubectl(log, "label", "node", self.nodes[1], "--overwrite", *labels)
            self.kubectl(
                log, "patch", "node", self.nodes[1], "--subresource=status", "--type=merge", "-p", json.dumps(patch)
            )

    def load(self, tags: Sequence[str], log: Log) -> dict[str, str]:
        """Put images into the store of every node, unless they were put there before; the digests of all by tag."""
        record = self._beside("images.json")
        loaded: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
        digests = {tag: images.digest(tag) for tag in tags}
        if missing := [tag for tag, digest in digests.items() if loaded.get(tag) != digest]:
            for node in self.nodes:
                self._import(node, missing, log)
        record.write_text(json.dumps({**loaded, **digests}, indent=1))
        return {**loaded, **digests}

    def delete(self) -> None:
        """Remove the cluster and what kind leaves: its network, where nothing else is in it, and the kubeconfig."""
        with self.shop.step("kind-delete") as log:
            log.run(self.kind, "delete", "cluster", "--name", self.given.name, "--kubeconfig", self.given.kubeconfig)
            left = log.read("docker", "ps", "-aq", "--filter", "network=kind").split()
            if not left and log.works("docker", "network", "inspect", "kind"):
                log.works("docker", "network", "rm", "kind")
        for what in ("key", "images.json", "kubeconfig", "kubeconfig.lock"):
            self._beside(what).unlink(missing_ok=True)

    def addresses(self, log: Log) -> dict[str, str]:
        """Each node's address in the engine's network."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return {node: log.read("docker", "inspect", "-f", form, node).strip() for node in self.nodes}

    def _config(self) -> dict[str, Any]:
        port, models = self.given.ingress_port, str(self.given.models)
        mounts = [{"hostPath": models, "containerPath": MODELS, "readOnly": True}]
        mapping = {"containerPort": port, "hostPort": port, "listenAddress": "127.0.0.1"}
        config: dict[str, Any] = {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": {"apiServerAddress": "127.0.0.1"},
            "nodes": [
                {"role": "control-plane", "extraMounts": mounts, "extraPortMappings": [mapping]},
                {"role": "worker", "extraMounts": mounts},
            ],
        }
        if "CAP_SYS_RESOURCE" in engine.missing_capabilities():
            # Containers may not be protected from the killer of processes that take too much memory.
            patch = '[plugins."io.containerd.grpc.v1.cri"]\n  restrict_oom_score_adj = true\n'
            config["containerdConfigPatches"] = [patch]
        return config

    def _settle(self, log: Log) -> None:
        """What nodes need before anything is installed, and again when they were started anew."""
        taint = "node-role.kubernetes.io/control-plane"
        if taint in self.kubectl(log, "get", "node", self.nodes[0], "-o", "jsonpath={.spec.taints[*].key}"):
            self.kubectl(log, "taint", "node", self.nodes[0], f"{taint}:NoSchedule-")
        for node in self.nodes:
            # A connection to a service that kube-proxy does not know yet would leave the node by its default route. Where
            # something out there accepts it, the API server keeps it for good: aggregated APIs and webhooks never answer.
            rule = ("OUTPUT", "-d", _SERVICES, "-o", "eth0", "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")
            table = ("docker", "exec", node, "iptables")
            if not log.works(*table, "-C", *rule):
                log.run(*table, "-A", *rule)

    def _answers(self) -> bool:
        ready = ("get", "--raw", "/readyz", "--request-timeout=5s")
        command: list[str | Path] = [self.program, "--kubeconfig", self.given.kubeconfig, *ready]
        running = subprocess.run(command, capture_output=True, check=False)
        return running.returncode == 0

    def _import(self, node: str, tags: Sequence[str], log: Log) -> None:
        importing = ("docker", "exec", "-i", node, "ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "-")
        node_image.pipe(log, ("docker", "save", *tags), importing)

    def _beside(self, what: str) -> Path:
        """A file about the cluster, which goes when the cluster goes."""
        return self.given.kubeconfig.with_suffix(f".{what}")


def wait_for_deployments(cluster: Kind, namespaces: Sequence[str], log: Log) -> None:
    """Until every Deployment of the namespaces is available; what its pods say goes into the log where one is not."""
    for namespace in namespaces:
        where = ("--namespace", namespace)
        try:
            cluster.kubectl(log, *where, "wait", "deployment", "--all", "--for=condition=Available", "--timeout=240s")
        except subprocess.CalledProcessError:
            log.say(cluster.kubectl(log, *where, "get", "events", "--field-selector=type=Warning"))
            log.say(cluster.kubectl(log, *where, "get", "pods"))
            raise


def wait_until_established(cluster: Kind, log: Log) -> None:
    """Until every definition can be used. `kubectl wait` itself fails on one so new that it has no conditions yet."""
    for attempt in range(_ATTEMPTS):
        try:
            cluster.kubectl(log, "wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
            return
        except subprocess.CalledProcessError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(1)
