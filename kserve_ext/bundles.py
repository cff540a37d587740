"""Bundles on disk: the rendered files of a service, read from and written to folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kserve_ext.domain import Plan, Service
from kserve_ext.files import write_text
from kserve_ext.library import read_configs
from kserve_ext.render.bundle import Bundle, render
from kserve_ext.render.predictor_runtime import is_custom


def bundle_for(service: Service, plan: Plan, repository: Path) -> Bundle:
    """The rendered bundle of a service whose models' configs lie in `repository`."""
    custom = is_custom(service.manifest)
    models = () if custom else dict.fromkeys([*(stage.model for stage in plan.stages), plan.model])
    return render(service, plan, read_configs(repository, models))


def write_bundle(bundle: Bundle, folder: Path) -> Sequence[Path]:
    """Write every file of the bundle below `folder`, each in one step; the paths written."""
    for path, text in bundle.files.items():
        write_text(folder / path, text)
    return [folder / path for path in bundle.files]


def manifests_text(bundle: Bundle) -> str:
    """The bundle's Kubernetes objects as one multi-document YAML, without the kustomization and the model configs."""
    names = [path for path in bundle.files if path.endswith(".yaml") and path != "kustomization.yaml"]
    return "---\n".join(bundle.files[path] for path in names)
