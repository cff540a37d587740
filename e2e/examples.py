"""Manifests as they are in the project, put into a namespace of a test; the files their volume holds; ways to ask them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from e2e import support
from e2e.support import Cluster, Object

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "model_repo"
# Folder on the volume -> the models of model_repo that its Triton sees.
REPOSITORIES = {
    "digits": ("digits",),
    "embed": ("embed", "embed_tokenizer", "embed_encoder"),
    "emulated": ("emulated",),
}
EMBED_FILES = ("embed_tokenizer/1/tokenizer.json", "embed_encoder/1/model.onnx")


def read(path: str, *, name: str = "") -> Object:
    """The InferenceService in a file, asking for little CPU: tests of several services share two cores."""
    found: Object = next(
        each for each in yaml.safe_load_all((ROOT / path).read_text()) if each["kind"] == "InferenceService"
    )
    if name:
        found["metadata"]["name"] = name
    for component in ("predictor", "transformer"):
        held = found["spec"].get(component, {})
        for container in held.get("containers") or ([held["model"]] if "model" in held else []):
            container.setdefault("resources", {}).setdefault("requests", {})["cpu"] = "50m"
    return found


def kustomized(folder: str, namespace: str = "") -> str:
    """The objects of a kustomization of the project as YAML, in another namespace if one is given."""
    with tempfile.TemporaryDirectory() as temporary:
        content: Object = {"resources": [os.path.relpath(ROOT / folder, temporary)]}
        if namespace:
            content["namespace"] = namespace
        (Path(temporary) / "kustomization.yaml").write_text(yaml.safe_dump(content))
        done = subprocess.run(["kubectl", "kustomize", temporary], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def models_namespace(cluster: Cluster, about: str, **labels: str) -> Iterator[str]:
    """A namespace as manifests/models makes it, with a volume of its own that holds what the examples name."""
    name = support.unique(about)
    folder = cluster.given.models / name
    objects = list(yaml.safe_load_all(kustomized("manifests/models", name)))
    for found in objects:
        if found["kind"] == "Namespace":
            found["metadata"]["labels"] |= {"app.kubernetes.io/part-of": "e2e", **labels}
    try:
        lay_models(folder)
        cluster.apply(objects, name)
        cluster.apply(support.models_volume(name, f"/models/{name}"), name)
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
        cluster.kubectl("delete", "persistentvolume", f"models-{name}", "--wait=false", "--ignore-not-found")
        shutil.rmtree(folder, ignore_errors=True)


def lay_models(folder: Path) -> None:
    """Put the models where the examples' storageUri says."""
    for repository, models in REPOSITORIES.items():
        for model in models:
            target = folder / repository / model
            shutil.copytree(MODELS / model / "1", target / "1", copy_function=link)
            shutil.copy(MODELS / model / "config.pbtxt", target)
    (folder / "embed-predictor").mkdir()
    for file in EMBED_FILES:
        link(str(MODELS / file), str(folder / "embed-predictor" / Path(file).name))


def link(source: str, target: str) -> None:
    """A second name where that is possible, a copy elsewhere."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


@contextmanager
def forwarded(cluster: Cluster, namespace: str, target: str, ports: Sequence[int]) -> Iterator[list[str]]:
    """Addresses on this machine that lead to ports of a pod or service, for what no ingress leads to."""
    here = [_free_port() for _ in ports]
    pairs = [f"{mine}:{theirs}" for mine, theirs in zip(here, ports, strict=True)]
    command = [cluster.program, "--kubeconfig", cluster.kubeconfig, "-n", namespace, "port-forward", target, *pairs]
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for _ in ports:
                assert "Forwarding" in process.stdout.readline(), f"{target} cannot be reached"
            yield [f"127.0.0.1:{port}" for port in here]
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])
