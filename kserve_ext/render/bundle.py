"""A service, its plan and its models' config.pbtxt texts in; every file of the deployment out, as text by path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from kserve_ext.domain import NeighbourPlan, Plan, Reason, Service
from kserve_ext.errors import ModelError, Problem
from kserve_ext.intent.mode import mode_of
from kserve_ext.render.autoscaler import render_autoscaler
from kserve_ext.render.beside import render_placeholders, render_recommender
from kserve_ext.render.inferenceservice import names_our_runtime, render_inferenceservice
from kserve_ext.render.pbtxt import format_config, parse_config
from kserve_ext.render.planned import notes, planned_config, planned_ensemble
from kserve_ext.render.predictor_runtime import is_custom
from kserve_ext.render.runtime import IMAGE, render_runtime
from kserve_ext.render.text import to_yaml as to_yaml

if TYPE_CHECKING:
    from kserve_ext.render.pbtxt import ModelConfig

SCALING_FILES = ("autoscaler.yaml", "recommender.yaml", "placeholders.yaml")
MODEL_REPOSITORY = "model_repo"  # folder of the bundle to be copied over the repository that storageUri names


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Text by path, relative to the folder it is written to; `notes` say what of the user's configs was left out."""

    files: Mapping[str, str]
    notes: tuple[Reason, ...] = ()


def render(service: Service, plan: Plan, configs: Mapping[str, str], *, image: str = IMAGE) -> Bundle:
    """All files of one service. `configs` holds config.pbtxt by model: each stage, and the ensemble over them.

    For a custom predictor `configs` is not looked at: there is no Triton to configure.
    Raises ManifestError or ModelError for what cannot be rendered.
    """
    manifest = render_inferenceservice(service, plan)
    bases = {} if is_custom(manifest) else _bases(plan, configs)
    left_out = tuple(note for stage in plan.all_stages if bases for note in notes(bases[stage.model], stage))
    namespace = service.manifest.get("metadata", {}).get("namespace")
    objects = {"inferenceservice.yaml": manifest, "plan.yaml": render_plan(plan, left_out, namespace)}
    if names_our_runtime(manifest, plan):
        grace_s = manifest["spec"]["predictor"].get("terminationGracePeriodSeconds")
        runtime = render_runtime(plan, mode=mode_of(manifest), namespace=namespace, image=image, grace_s=grace_s)
        objects = {"servingruntime.yaml": runtime, **objects}
    objects |= scaling_objects(service, plan, manifest)
    objects["kustomization.yaml"] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(objects),
    }
    files = {path: to_yaml(each) for path, each in objects.items()}
    return Bundle(files=files | (_model_repository(plan, bases) if bases else {}), notes=left_out)


def scaling_objects(service: Service, plan: Plan, manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What scales and places the replicas of a rendered service beside KServe and Knative, by file."""
    namespace = service.manifest.get("metadata", {}).get("namespace")
    found = {"autoscaler.yaml": render_autoscaler(service, plan, namespace)}
    if service.intent.vertical:
        found["recommender.yaml"] = render_recommender(plan, namespace)
    if plan.placeholders:
        predictor = manifest["spec"]["predictor"]
        found["placeholders.yaml"] = render_placeholders(plan, predictor, mode_of(manifest), namespace)
    return {file: one for file, one in found.items() if one is not None}


def render_plan(plan: Plan, left_out: tuple[Reason, ...] = (), namespace: str | None = None) -> dict[str, Any]:
    """The ConfigMap NAME-plan: the plan's values, and the reason for each in words."""
    metadata = {"name": f"{plan.service}-plan"} | ({"namespace": namespace} if namespace else {})
    values = _values(dataclasses.replace(plan, reasons=(), warnings=()))
    values = {key: value for key, value in values.items() if value not in (None, [])}
    if plan.horizontal is not None:
        values["scaling"] = {name: values["scaling"][name] for name in ("min_replicas", "max_replicas")}
    data = {
        "plan.yaml": to_yaml(values),
        "reasons.txt": _in_words(plan.reasons),
    }
    if plan.warnings or left_out:
        data["warnings.txt"] = _in_words(plan.warnings + left_out)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _model_repository(plan: Plan, bases: Mapping[str, ModelConfig]) -> dict[str, str]:
    """Each model's config twice: as the one a server finds by itself, and as the one it is told to take by hardware."""
    accelerators = sum(plan.resources.accelerators.values())
    planned = {
        stage.model: planned_config(bases[stage.model], stage, accelerators=accelerators) for stage in plan.all_stages
    }
    models: tuple[Plan | NeighbourPlan, ...] = (plan, *plan.neighbours)
    for each in models:
        if each.model not in planned:
            planned[each.model] = planned_ensemble(bases[each.model], each.stages)
    files = {}
    for model, config in planned.items():
        for path in ("config.pbtxt", f"configs/{plan.hardware}.pbtxt"):
            files[f"{MODEL_REPOSITORY}/{model}/{path}"] = format_config(config)
    return files


def _bases(plan: Plan, configs: Mapping[str, str]) -> dict[str, ModelConfig]:
    """The configs as the user wrote them. Raises ModelError."""
    bases = {name: parse_config(text, f"{name}/config.pbtxt") for name, text in configs.items()}
    _check_names(plan, bases)
    return bases


def _check_names(plan: Plan, bases: Mapping[str, ModelConfig]) -> None:
    problems = [
        Problem(file=f"{name}/config.pbtxt", what="missing", allowed="a config for each model of the plan")
        for name in plan.models
        if name not in bases
    ]
    problems += [
        Problem(
            file=f"{folder}/config.pbtxt",
            field="name",
            what="not the name of the model's folder, which Triton refuses",
            found=config.name,
            allowed=folder,
        )
        for folder, config in bases.items()
        if config.name not in ("", folder)
    ]
    if problems:
        raise ModelError(*problems)


def _in_words(reasons: tuple[Reason, ...]) -> str:
    return "".join(f"{reason.field}: {reason.text} [{reason.code}]\n" for reason in reasons)


def _values(value: Any) -> Any:
    """Dataclasses, enums and tuples as what YAML knows."""
    if dataclasses.is_dataclass(value):
        return {field.name: _values(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _values(inner) for key, inner in value.items()}
    return [_values(inner) for inner in value] if isinstance(value, tuple) else value
