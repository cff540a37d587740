"""The programs of SET=full: Envoy Gateway, KEDA, the VPA recommender, kube-router for network policies.

Each is compiled in a copy of its own module, with its own checksums: they stand on newer Kubernetes libraries than the
base set and have little in common with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import binaries, images
from e2e.cluster.kind import Kind, wait_for_deployments
from e2e.cluster.settings import REGISTRY, Settings
from e2e.cluster.work import Log, Workshop, key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Addon:
    """A module, its programs by the package that makes them, and what their images hold besides."""

    module: str
    programs: dict[str, str]
    under: str = "scratch"
    packages: str = ""  # of Debian
    user: str = "65532:65532"


PROXY = f"{REGISTRY}/envoy-proxy:1"
_NAMESPACES = ("envoy-gateway-system", "keda", "kserve")
ADDONS = {
    "vpa": Addon(
        module="k8s.io/autoscaler/vertical-pod-autoscaler@v1.8.1", programs={"vpa-recommender": "./pkg/recommender"}
    ),
    "envoy-gateway": Addon(
        module="github.com/envoyproxy/gateway@v1.9.1",
        programs={"envoy-gateway": "./cmd/envoy-gateway"},
        under=images.BASE,
    ),
    # Of the policy engines that can be had as Go modules the one whose packet filter every kernel with ipset has.
    "kube-router": Addon(
        module="github.com/cloudnativelabs/kube-router/v2@v2.1.0",
        programs={"kube-router": "./cmd/kube-router"},
        under=images.BASE,
        packages="ipset",
        user="root",
    ),
    "keda": Addon(
        module="github.com/kedacore/keda/v2@v2.21.0",
        programs={
            "keda-operator": "./cmd/operator",
            "keda-adapter": "./cmd/adapter",
            "keda-webhooks": "./cmd/webhooks",
        },
    ),
}


def build(given: Settings, shop: Workshop, graph: Path) -> dict[str, Path]:
    """The folder of programs of each add-on, from the cache or compiled: twenty minutes on two cores from nothing."""
    return {
        name: shop.artefact(
            f"build-{name}",
            {"module": addon.module, "programs": addon.programs},
            lambda folder, log, addon=addon: _compile(given, addon, graph, folder, log),  # type: ignore[misc]
        )
        for name, addon in ADDONS.items()
    }


def modules(given: Settings, graph: Path, log: Log) -> dict[str, Path]:
    """The source of each add-on: its manifests are read there."""
    settled = binaries.environment(given)
    return {name: binaries.download(addon.module, graph, settled, log) for name, addon in ADDONS.items()}


def system_images(shop: Workshop, built: dict[str, Path]) -> list[str]:
    """One image for each program; their names."""
    made = [PROXY]
    with shop.step("images-full") as log:
        # Envoy Gateway starts the proxy by its bare name.
        text = f"FROM {REGISTRY}/envoy:1\nENV PATH=/usr/local/bin:/usr/bin:/bin\n"
        under = images.label(f"{REGISTRY}/envoy:1")
        images.build(PROXY, key_of([under, text]), log, lambda to: images.context(to, text, {}))
        for name, folder in built.items():
            made += [_image(ADDONS[name], program, folder, log) for program in ADDONS[name].programs]
    return made


def wait_ready(cluster: Kind, log: Log) -> None:
    """Until all of the set works, and KServe, which decides at its start whether it makes routes of the Gateway API."""
    cluster.kubectl(log, "--namespace", "kserve", "rollout", "restart", "deployment", "kserve-controller-manager")
    wait_for_deployments(cluster, _NAMESPACES, log)
    cluster.kubectl(log, "--namespace", "kube-system", "rollout", "status", "daemonset/kube-router", "--timeout=120s")
    gateway = ("wait", "gateway", "kserve-ingress-gateway", "--for=condition=Programmed", "--timeout=120s")
    cluster.kubectl(log, "--namespace", "kserve", *gateway)


def _image(addon: Addon, program: str, folder: Path, log: Log) -> str:
    tag, text = f"{REGISTRY}/{program}:1", "\n".join(_dockerfile(addon, program)) + "\n"
    key = key_of([folder.name, images.label(addon.under), text])
    files = {program: folder / program}
    images.build(tag, key, log, lambda to: images.context(to, text, files), "--network=host")
    return tag


def _dockerfile(addon: Addon, program: str) -> Iterator[str]:
    yield f"FROM {addon.under}"
    if addon.packages:
        yield f"RUN apt-get update -q && apt-get install -yq --no-install-recommends {addon.packages}"
    yield f"COPY {program} /usr/local/bin/{program}"
    yield "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # Envoy Gateway starts itself by its bare name
    yield f"USER {addon.user}"
    yield f'ENTRYPOINT ["/usr/local/bin/{program}"]'


def _compile(given: Settings, addon: Addon, graph: Path, folder: Path, log: Log) -> None:
    settled = {**binaries.environment(given), "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly"}
    source = binaries.download(addon.module, graph, settled, log)
    copy = folder / "source"
    binaries.copy_module(source, copy)
    try:
        for program, package in addon.programs.items():
            binaries.go_build(log, folder, "-ldflags=-s -w", "-o", folder / program, package, cwd=copy, env=settled)
    finally:
        shutil.rmtree(copy)
