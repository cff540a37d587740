"""The product as a user has it, on the cluster: the command line in a process of its own, manifests, a repository of models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from e2e import support
from e2e.support import Cluster, Object
from kserve_ext.client import Client

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "model_repo" / "digits"
PROFILE = ROOT / "e2e" / "data" / "digits-cpu.json"
_RUNTIME_S = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """`kserve-ext` against the cluster, in one namespace."""

    cluster: Cluster
    namespace: str
    folder: Path  # where files go

    def run(self, *arguments: str, stdin: str = "", code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command that talks to the cluster; `code` is the exit code it must have (None: any)."""
        return self.alone(*arguments, "--namespace", self.namespace, stdin=stdin, code=code)

    def alone(self, *arguments: str, stdin: str = "", code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command that knows no namespace."""
        command = [str(Path(sys.executable).with_name("kserve-ext")), *arguments]
        done = subprocess.run(
            command, input=stdin, env=self.environment(), capture_output=True, text=True, timeout=_RUNTIME_S, check=False,
            cwd=ROOT,
        )  # fmt: skip
        said = f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert code is None or done.returncode == code, said
        assert "Traceback" not in done.stderr, said
        return done

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """What a command prints with -o json."""
        return json.loads(self.run(*arguments, "-o", "json", code=code).stdout)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig), "COLUMNS": "200", "NO_COLOR": "1"}

    def write(self, manifest: Object, name: str = "service.yaml") -> str:
        """A manifest as a file; its path."""
        file = self.folder / name
        file.write_text(yaml.safe_dump(manifest, sort_keys=False))
        return str(file)

    def render(self, manifest: Object, name: str) -> Path:
        """The bundle of a manifest, in a folder of this name."""
        file = self.write(manifest, f"{name}.yaml")
        self.alone("render", file, "--out", str(self.folder / name), "--quiet")
        return self.folder / name / str(manifest["metadata"]["name"])

    def changed(self, name: str, **predictor: Any) -> str:
        """A copy of the bundle that was rendered for digits with fields of the predictor changed; its folder."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder / "rendered" / "digits", folder)
        file = folder / "inferenceservice.yaml"
        manifest = yaml.safe_load(file.read_text())
        manifest["spec"]["predictor"] |= predictor
        file.write_text(yaml.safe_dump(manifest, sort_keys=False))
        return str(folder)

    def client(self, service: str, *, grpc: bool = False) -> Client:
        """A client of the service through the ingress."""
        scheme = "grpc" if grpc else "http"
        return Client(f"{scheme}://{self.cluster.ingress}", authority=support.host_of(service, self.namespace))

    def kind(self, kind: str, name: str) -> Object:
        return self.cluster.get(kind, name, self.namespace)


def digits(name: str = "digits", **predictor: Any) -> Object:
    """An annotated InferenceService of the digits model, small enough for several beside each other on two cores."""
    protocol = predictor.pop("protocol", "rest")
    model = predictor.pop("model", {})
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "annotations": {
                "serving.kserve.io/deploymentMode": "Knative",
                "kserve-ext.dev/slo-p99": "250ms",
                "kserve-ext.dev/rate": "2..30rps",
                "kserve-ext.dev/model": "digits",
                "kserve-ext.dev/protocol": protocol,
                "kserve-ext.dev/profile": str(PROFILE),
            },
        },
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "triton"},
                    "runtime": "kserve-ext-triton",
                    "storageUri": "pvc://models/digits",
                    "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
                    **model,
                },
                **predictor,
            }
        },
    }


@contextmanager
def planned_models(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The claim `models` of a namespace on a repository of its own, with the config that is planned for digits."""
    try:
        lay_digits(cluster, namespace)
        cluster.apply(support.models_volume(namespace, f"/models/{namespace}"), namespace)
        yield
    finally:
        cluster.kubectl("delete", "persistentvolume", f"models-{namespace}", "--wait=false", "--ignore-not-found")
        shutil.rmtree(cluster.given.models / namespace, ignore_errors=True)


def lay_digits(cluster: Cluster, namespace: str) -> None:
    """A repository with the digits model, where pvc://models/digits of a namespace finds it."""
    folder = cluster.given.models / namespace / "digits" / "digits"
    shutil.copytree(DIGITS / "1", folder / "1", copy_function=_link)
    shutil.copy(DIGITS / "config.pbtxt", folder)


def lay_config(cluster: Cluster, namespace: str, bundle: Path, repository: str = "digits") -> None:
    """Copy a bundle's config.pbtxt files over the repository, as its README says."""
    shutil.copytree(bundle / "model_repo", cluster.given.models / namespace / repository, dirs_exist_ok=True)


@contextmanager
def made_namespace(cluster: Cluster, about: str, labels: dict[str, str] | None = None) -> Iterator[str]:
    """A namespace that goes with all that is in it."""
    name = support.unique(about)
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "e2e", **(labels or {})}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, "default")
    try:
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def _link(source: str, target: str) -> None:
    """A second name where that is possible, a copy elsewhere."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of digits and what they show."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data[:count].astype(np.float32), data.target[:count]


def answers_here(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """What the model answers without any server."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(DIGITS / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": pictures}), strict=True))
