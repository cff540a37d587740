"""The model repository on disk: where a model's configs, samples and profiles are, read with errors that name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from kserve_ext.domain import Intent, Profile, Service
from kserve_ext.errors import InputError, ModelError, Problem, ProfileError
from kserve_ext.files import read_text, write_text
from kserve_ext.profile import store


def profile_path(repository: Path, model: str, hardware: str) -> Path:
    """Where the profile of a model on a hardware kind is kept."""
    return repository / model / "profiles" / f"{hardware.replace('/', '_')}.json"


def read_profile(path: Path, *, model: str | None = None) -> Profile:
    """The profile in a file. Raises ProfileError, also when `model` is given and it is of another."""
    return store.load(read_text(path), str(path), model=model)


def write_profile(path: Path, profile: Profile) -> None:
    """Keep a profile, in one step."""
    write_text(path, store.dump(profile))


def profiles_for(repository: Path, intent: Intent, *, beside: Path) -> Mapping[str, Profile]:
    """Profiles of the intent's model by hardware kind.

    The annotation `profile` wins over the repository and is taken relative to `beside`, the manifest's folder.
    Raises ProfileError when there is none for any hardware kind that is allowed.
    """
    if intent.profile is not None:
        profile = read_profile(beside / intent.profile, model=intent.model)
        return {profile.hardware: profile}
    paths = {kind: profile_path(repository, intent.model, kind) for kind in intent.hardware}
    found = {kind: read_profile(path, model=intent.model) for kind, path in paths.items() if path.exists()}
    if not found:
        raise ProfileError(
            Problem(file=", ".join(map(str, paths.values())), what=f"no profile of {intent.model}"),
            remedy=f"measure it with `kserve-ext profile {intent.model}`",
        )
    return found


def check_alone(service: Service, what: str) -> None:
    """Raises InputError where a service has neighbours and `what` looks at one model."""
    if service.intent.neighbours:
        raise InputError(
            Problem(
                file=service.source, field="metadata.annotations[kserve-ext.dev/neighbours]",
                what=f"{what} looks at services of one model", allowed="plan, explain, render and up take several",
                found=", ".join(each.model for each in service.intent.neighbours),
            )
        )  # fmt: skip


def neighbour_profiles(repository: Path, intent: Intent) -> Mapping[str, Mapping[str, Profile]]:
    """Profiles of the intent's further models, by model and hardware kind. Raises ProfileError where one has none."""
    return {
        each.model: profiles_for(repository, replace(intent, model=each.model, profile=None), beside=repository)
        for each in intent.neighbours
    }


def read_configs(repository: Path, models: Iterable[str]) -> Mapping[str, str]:
    """The config.pbtxt text of each model. Raises ModelError naming the file that is missing."""
    texts: dict[str, str] = {}
    for model in models:
        path = repository / model / "config.pbtxt"
        if not path.is_file():
            raise ModelError(
                Problem(file=str(path), what="not found"), remedy="`kserve-ext init` writes one, or give --model-repo"
            )
        texts[model] = read_text(path)
    return texts
