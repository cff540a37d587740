"""What the operator knows of models: profiles and configs from ConfigMaps, or from a mounted model repository.

A ConfigMap with the label `kserve-ext.dev/model` holds `profile.HARDWARE.json` for each hardware kind and
`config.MODEL.pbtxt` for the model and its steps, as `kserve-ext profile --to-configmap` writes them. One in the
service's namespace goes before one in the operator's. Pure but for the repository.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kserve_ext.domain import Intent, Profile
from kserve_ext.errors import KserveExtError, Problem, ProfileError
from kserve_ext.files import read_text
from kserve_ext.intent.annotations import PREFIX
from kserve_ext.library import profile_path, profiles_for, read_configs, read_profile
from kserve_ext.profile import store

LABEL = PREFIX + "model"
_PROFILE, _CONFIG = ("profile.", ".json"), ("config.", ".pbtxt")
_LARGEST_BYTES = 2**20 - 2**14  # of a ConfigMap, with room for its metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model: profiles by hardware kind, configs by model. `digest` tells one content from another."""

    profiles: Mapping[str, Profile]
    configs: Mapping[str, str]
    digest: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Every model known, by namespace and name. `shared` is the operator's own namespace."""

    known: Mapping[tuple[str, str], Model] = field(default_factory=dict)
    shared: str = ""
    repository: Path | None = None

    def find(self, intent: Intent) -> Model:
        """The model of an intent. Raises ProfileError where none of its hardware kinds has a profile."""
        for namespace in (intent.namespace, self.shared):
            found = self.known.get((namespace, intent.model))
            if found is not None and any(kind in found.profiles for kind in intent.hardware):
                return found
        if self.repository is not None and any(
            profile_path(self.repository, intent.model, kind).exists() for kind in intent.hardware
        ):
            return _from_repository(self.repository, intent)
        problems = [text for place in (intent.namespace, self.shared) if (one := self.known.get((place, intent.model)))
                    for text in one.problems]  # fmt: skip
        where = f"a ConfigMap with label {LABEL}={intent.model} in namespace {intent.namespace}"
        raise ProfileError(
            Problem(what=f"no profile of {intent.model} for {', '.join(intent.hardware)}", found="; ".join(problems),
                    allowed=where + (f" or {self.shared}" if self.shared else "")),
            remedy=f"kserve-ext profile {intent.model} --to-configmap - | kubectl apply -n {intent.namespace} -f -",
        )  # fmt: skip


def read_model(configmap: Mapping[str, Any]) -> Model:
    """The model in a ConfigMap; what cannot be read is among its problems."""
    name = str(configmap["metadata"]["labels"][LABEL])
    where = f"ConfigMap {configmap['metadata'].get('namespace', '')}/{configmap['metadata']['name']}"
    profiles: dict[str, Profile] = {}
    configs: dict[str, str] = {}
    problems: list[str] = []
    data: Mapping[str, str] = configmap.get("data") or {}
    for key, text in data.items():
        if (inner := _inner(key, _CONFIG)) is not None:
            configs[inner] = text
        elif _inner(key, _PROFILE) is not None:
            try:
                profile = store.load(text, f"{where}: {key}", model=name)
            except KserveExtError as error:
                problems.append(error.message)
            else:
                profiles[profile.hardware] = profile
    return Model(profiles=profiles, configs=configs, digest=_digest(data), problems=tuple(problems))


def configmap_of(repository: Path, model: str) -> dict[str, Any]:
    """The ConfigMap of a model: every profile it has in a repository, and its own config and those of its steps.

    Raises ProfileError where it has none, or they are too large.
    """
    paths = sorted((repository / model / "profiles").glob("*.json"))
    if not paths:
        raise ProfileError(
            Problem(file=str(repository / model / "profiles"), what=f"no profile of {model}"),
            remedy=f"measure it with `kserve-ext profile {model}`",
        )
    profiles = [read_profile(path, model=model) for path in paths]
    names = dict.fromkeys([*(stage.model for profile in profiles for stage in profile.stages), model])
    present = [name for name in names if (repository / name / "config.pbtxt").is_file()]
    data = {
        f"{_PROFILE[0]}{path.stem}{_PROFILE[1]}": store.dump(one) for path, one in zip(paths, profiles, strict=True)
    }
    data |= {f"{_CONFIG[0]}{name}{_CONFIG[1]}": text for name, text in read_configs(repository, present).items()}
    size = sum(len(key) + len(text.encode()) for key, text in data.items())
    if size > _LARGEST_BYTES:
        raise ProfileError(
            Problem(what="too large for a ConfigMap", found=f"{size} bytes", allowed=f"{_LARGEST_BYTES} bytes"),
            remedy="mount the model repository in the operator instead: --model-repo",
        )
    name = f"{model.lower().replace('_', '-').replace('.', '-')}-profile"
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {LABEL: model}}, "data": data}


def _from_repository(repository: Path, intent: Intent) -> Model:
    profiles = profiles_for(repository, intent, beside=repository)
    names = dict.fromkeys([*(stage.model for profile in profiles.values() for stage in profile.stages), intent.model])
    present = [name for name in names if (repository / name / "config.pbtxt").is_file()]
    texts = {kind: read_text(profile_path(repository, intent.model, kind)) for kind in profiles}
    return Model(profiles=profiles, configs=read_configs(repository, present), digest=_digest(texts))


def _inner(key: str, ends: tuple[str, str]) -> str | None:
    before, after = ends
    return key[len(before) : -len(after)] if key.startswith(before) and key.endswith(after) else None


def _digest(data: Mapping[str, str]) -> str:
    return hashlib.sha256("\0".join(f"{key}\0{data[key]}" for key in sorted(data)).encode()).hexdigest()
