"""The programs of SET=full: Envoy Gateway, KEDA, the VPA recommender.

Each is compiled in a copy of its own module, with its own checksums: they stand on newer Kubernetes libraries than the
base set and have little in common with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import binaries, images
from e2e.cluster.settings import REGISTRY, Settings
from e2e.cluster.work import Log, Workshop, key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Addon:
    """A module, and its programs by the package that makes them."""

    module: str
    programs: dict[str, str]


PROXY = f"{REGISTRY}/envoy-proxy:1"
NAMESPACES = ("envoy-gateway-system", "keda", "kserve")
ADDONS = {
    "vpa": Addon(
        module="k8s.io/autoscaler/vertical-pod-autoscaler@v1.8.1", programs={"vpa-recommender": "./pkg/recommender"}
    ),
    "envoy-gateway": Addon(
        module="github.com/envoyproxy/gateway@v1.9.1", programs={"envoy-gateway": "./cmd/envoy-gateway"}
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
        for addon, folder in built.items():
            for program in ADDONS[addon].programs:
                tag, key = f"{REGISTRY}/{program}:1", key_of([folder.name, program])
                lines = "\n".join(_dockerfile(program)) + "\n"
                files = {program: folder / program}
                images.build(tag, key, log, lambda to, lines=lines, files=files: images.context(to, lines, files))  # type: ignore[misc]
                made.append(tag)
    return made


def _dockerfile(program: str) -> Iterator[str]:
    # Envoy Gateway starts itself by its bare name: its image needs a PATH.
    gateway = program == "envoy-gateway"
    path = f"/usr/local/bin/{program}" if gateway else f"/{program}"
    yield f"FROM {images.BASE}" if gateway else "FROM scratch"
    yield f"COPY {program} {path}"
    yield "ENV PATH=/usr/local/bin:/usr/bin:/bin"
    yield "USER 65532:65532"
    yield f'ENTRYPOINT ["{path}"]'


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
