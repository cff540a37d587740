"""kind's node image, with the system images already in its store, so that a new cluster loads nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import binaries, images, rootfs
from e2e.cluster.binaries import Binaries
from e2e.cluster.settings import HERE, REGISTRY, Settings
from e2e.cluster.work import Log, Workshop, digest_of, key_of, until

_ROOTFS = f"{REGISTRY}/node-rootfs:1"
_EMPTY = f"{REGISTRY}/node-empty:1"
_FILLING = "kserve-ext-node-image"
_ENTRYPOINT = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
_PROGRAMS = ("kubeadm", "kubelet", "kubectl")


def build(given: Settings, shop: Workshop, programs: Binaries, preloaded: Sequence[str]) -> None:
    """Make `given.node_image` hold these images, unless it does."""
    root = images.imported(shop, _ROOTFS, rootfs.build(given, shop, "node"))
    inside = {tag: images.digest(tag) for tag in preloaded}
    tools = [programs[name].parent.name for name in _PROGRAMS]
    key = key_of([root, digest_of(HERE / "node"), tools, given.kubernetes, inside])
    if images.label(given.node_image) == key:
        shop.line("node-image", "cached", 0.0)
        return
    with shop.step("node-image") as log:
        kind = binaries.module_folder(given, programs.graph, "sigs.k8s.io/kind", log)
        arguments = ("--build-arg", f"KUBERNETES={given.kubernetes}")
        images.build(_EMPTY, key, log, lambda folder: _fill(folder, kind, programs), *arguments)
        _preload(given, preloaded, log)


def _fill(folder: Path, kind: Path, programs: Binaries) -> None:
    shutil.copytree(HERE / "node", folder, dirs_exist_ok=True)
    files = folder / "kind-files"
    shutil.copytree(kind / "images" / "base" / "files", files, copy_function=shutil.copyfile)
    for path in (files, *files.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "bin").mkdir()
    for name in _PROGRAMS:
        shutil.copy(programs[name], folder / "bin" / name)


def _preload(given: Settings, tags: Sequence[str], log: Log) -> None:
    """Import the images in a container of the node image, and keep what came of it.

    kind gives /var a volume of its own, which the engine fills from the image's /var.
    """
    log.works("docker", "rm", "-f", _FILLING)
    try:
        unconfined = ("--security-opt", "seccomp=unconfined")
        log.run("docker", "run", "-d", "--name", _FILLING, *unconfined, "--entrypoint", "containerd", _EMPTY)
        until("containerd", lambda: log.works("docker", "exec", _FILLING, "ctr", "version"), seconds=30)
        importing = ("docker", "exec", "-i", _FILLING, "ctr", "-n", "k8s.io", "images", "import", "--all-platforms")
        pipe(log, ("docker", "save", *tags), (*importing, "--no-unpack", "-"))
        log.run("docker", "stop", "-t", "10", _FILLING)
        log.run("docker", "commit", "--change", _ENTRYPOINT, _FILLING, given.node_image)
    finally:
        log.works("docker", "rm", "-f", _FILLING)


def pipe(log: Log, first: Sequence[str], second: Sequence[str]) -> None:
    """Run two commands, the output of the first into the second. Raises CalledProcessError."""
    log.say("$ " + " ".join(first) + " |")
    with subprocess.Popen(first, stdout=subprocess.PIPE, stderr=log.file) as source:
        log.run(*second, stdin=source.stdout)
    if source.returncode:
        raise subprocess.CalledProcessError(source.returncode, first)
