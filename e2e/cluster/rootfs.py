"""Two Debian file systems, from packages: `base` under every image that is more than one program, `node` for kind's nodes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from e2e.cluster.settings import Settings
from e2e.cluster.work import Log, Missing, Workshop

PACKAGES = {
    # Python for predictors and Triton; the packet filter and curl for the programs that set up the pod network
    "base": "ca-certificates curl jq procps iproute2 iptables nftables conntrack kmod "
    "python3 python3-venv python3-pip libpython3.11 libgomp1",
    # what kind's own base image installs, and the container runtime that it compiles
    "node": "systemd dbus conntrack iptables nftables iproute2 ethtool util-linux mount kmod libseccomp2 pigz bash "
    "ca-certificates curl jq procps hostname socat containerd runc containernetworking-plugins",
}
_LEFT_OUT = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def build(given: Settings, shop: Workshop, name: str) -> Path:
    """The file system as a tar file."""
    inputs = {"debian": given.debian, "packages": PACKAGES[name], "left out": _LEFT_OUT}
    return shop.artefact(f"rootfs-{name}", inputs, lambda folder, log: _make(given, name, folder, log)) / "rootfs.tar"


def _make(given: Settings, name: str, folder: Path, log: Log) -> None:
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        raise Missing(
            "making an image from Debian packages needs debootstrap and root: run `sudo make cluster-host` first"
        )
    root = folder / "root"
    packages = ",".join(PACKAGES[name].split())
    mirror = [given.debian_mirror] if given.debian_mirror else []
    log.run("debootstrap", "--variant=minbase", f"--include={packages}", given.debian, root, *mirror)
    for path in _LEFT_OUT:
        shutil.rmtree(root / path, ignore_errors=True)
        (root / path).mkdir(parents=True)
    (root / "var/cache/apt/archives/partial").mkdir()
    log.run("tar", "-C", root, "--numeric-owner", "-cf", folder / "rootfs.tar", ".")
    shutil.rmtree(root)
