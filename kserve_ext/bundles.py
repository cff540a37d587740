"""Bundles on disk: the rendered files of a service, read from and written to folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kserve_ext.domain import Plan, Service
from kserve_ext.errors import InputError, Problem
from kserve_ext.files import read_text, write_text
from kserve_ext.intent.document import read_documents
from kserve_ext.library import read_configs
from kserve_ext.render.bundle import Bundle, render
from kserve_ext.render.predictor_runtime import is_custom

KUSTOMIZATION = "kustomization.yaml"
_PLAIN_KEYS = ("apiVersion", "kind", "resources")  # a kustomization that is no more than a list of files


def bundle_for(service: Service, plan: Plan, repository: Path) -> Bundle:
    """The rendered bundle of a service whose models' configs lie in `repository`."""
    custom = is_custom(service.manifest)
    models = () if custom else plan.models
    return render(service, plan, read_configs(repository, models))


def write_bundle(bundle: Bundle, folder: Path) -> Sequence[Path]:
    """Write every file of the bundle below `folder`, each in one step; the paths written."""
    for path, text in bundle.files.items():
        write_text(folder / path, text)
    return [folder / path for path in bundle.files]


def manifests_text(bundle: Bundle) -> str:
    """The bundle's Kubernetes objects as one multi-document YAML, without the kustomization and the model configs."""
    names = [path for path in bundle.files if path.endswith(".yaml") and path != KUSTOMIZATION]
    return "---\n".join(bundle.files[path] for path in names)


def bundle_folders(path: Path) -> tuple[Path, ...]:
    """The bundles at a folder: itself, or those below it, as `render --out` writes them. Raises InputError."""
    if (path / KUSTOMIZATION).is_file():
        return (path,)
    below = tuple(sorted(found.parent for found in path.glob(f"*/{KUSTOMIZATION}")))
    if not below:
        allowed = f"a folder that `kserve-ext render --out` wrote, with a {KUSTOMIZATION}; or a manifest file"
        raise InputError(Problem(file=str(path), what="no bundle in it", allowed=allowed))
    return below


def read_bundle(folder: Path) -> tuple[tuple[str, str], ...]:
    """The (file, text) pairs of a bundle's objects, those that its kustomization lists. Raises InputError."""
    file = folder / KUSTOMIZATION
    documents = read_documents(read_text(file), str(file))
    listed = documents[0].get("resources") if documents else None
    more = [key for key, _ in documents[0].items() if key not in _PLAIN_KEYS] if documents else []
    names = [node.value for node in listed.value] if listed is not None and isinstance(listed.value, tuple) else []
    plain = bool(names) and all(isinstance(name, str) and (folder / name).is_file() for name in names)
    if more or not plain:
        found = ", ".join(more) or "resources that are not files of this folder"
        raise InputError(
            Problem(
                file=str(file), what="more than a list of files", found=found, allowed="resources: files beside it"
            ),
            remedy=f"kubectl kustomize {folder} | kserve-ext apply -",
        )
    return tuple((str(folder / str(name)), read_text(folder / str(name))) for name in names)
