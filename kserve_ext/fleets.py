"""Fleets on disk: services with their profiles read, a fleet plan written, and read again as what runs now.

A plan is written as fleet-plan.json (all of it), nodes/ (what every GPU is cut into) and services/ (the rendered bundle
of each service, with its place in the fleet written into the InferenceService).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from kserve_ext.bundles import bundle_for, write_bundle
from kserve_ext.domain import Mode, Profile, Reason, Service
from kserve_ext.errors import ManifestError, Problem
from kserve_ext.files import read_text, write_text
from kserve_ext.intent.mode import mode_of
from kserve_ext.library import check_alone, profiles_for
from kserve_ext.plugins import plan_with
from kserve_ext.policy.fleet.board import Place
from kserve_ext.policy.fleet.decide import FleetPlan, ServicePlan, Wanted
from kserve_ext.policy.fleet.mig_layout import CONFIG_MAP, mig_config_map
from kserve_ext.policy.fleet.scheduling import schedule
from kserve_ext.policy.fleet.shapes import CPU
from kserve_ext.policy.fleet.types import Fleet
from kserve_ext.policy.gpu.execution import execution, with_execution
from kserve_ext.policy.gpu.memory import with_instances
from kserve_ext.policy.gpu.names import device_class
from kserve_ext.policy.request import PlanRequest
from kserve_ext.render.bundle import Bundle, to_yaml
from kserve_ext.render.pbtxt import backend, format_config, parse_config

PLAN_FILE = "fleet-plan.json"
Progress = Callable[[int, int], None]


def wanted_services(services: Iterable[Service], repository: Path) -> tuple[Wanted, ...]:
    """Each service with the profiles that its model has. Services of one model share them. Raises ProfileError."""
    known: dict[tuple[Any, ...], dict[str, Profile]] = {}
    found = []
    for service in services:
        check_alone(service, "a fleet")
        intent, beside = service.intent, Path(service.source.rpartition(":")[0]).parent
        key = (intent.model, intent.hardware, intent.profile, beside if intent.profile else None)
        if key not in known:
            known[key] = dict(profiles_for(repository, intent, beside=beside))
        found.append(Wanted(intent=intent, profiles=known[key]))
    return tuple(found)


def plan_text(plan: FleetPlan) -> str:
    """The plan as JSON, the same plan as the same text."""
    return json.dumps(asdict(plan), indent=1) + "\n"


def read_places(path: Path) -> tuple[Place, ...]:
    """Where replicas run according to an earlier plan. Raises ManifestError for a file that is none."""
    try:
        record = json.loads(read_text(path))
        places = tuple(_place(each) for each in record["places"])
    except json.JSONDecodeError as error:
        raise ManifestError(Problem(file=str(path), line=error.lineno, what=f"not JSON: {error.msg}")) from error
    except (KeyError, TypeError) as error:
        raise ManifestError(
            Problem(file=str(path), field="places", what="not a fleet plan",
                    allowed="what `kserve-ext fleet plan -o json` prints")
        ) from error  # fmt: skip
    return places


def _place(record: Mapping[str, Any]) -> Place:
    texts = [record[field] for field in ("service", "kind", "node", "gpu")]
    if not all(isinstance(text, str) for text in texts) or type(record["start"]) is not int:
        raise TypeError("a place has a field of the wrong type")
    service, kind, node, gpu = texts
    return Place(service=service, kind=kind, node=node, gpu=gpu, start=record["start"])


def write_plan(
    plan: FleetPlan, fleet: Fleet, services: Sequence[Service], wanted: Sequence[Wanted], repository: Path, out: Path,
    progress: Progress,
) -> tuple[tuple[Path, ...], tuple[Reason, ...]]:  # fmt: skip
    """Write everything below `out`; the paths, and notes on what could not be written as planned."""
    paths: list[Path] = []
    notes: list[Reason] = []
    by_name = {each.service: each for each in plan.services}
    for index, (service, each) in enumerate(zip(services, wanted, strict=True)):
        bundle, found = service_bundle(service, each, by_name[each.name], plan, fleet, repository)
        paths += write_bundle(bundle, out / "services" / service.intent.namespace / service.intent.name)
        notes += [replace(note, field=f"{each.name}: {note.field}") for note in found]
        progress(index + 1, len(services))
    for path, text in node_files(plan, fleet).items():
        write_text(out / "nodes" / path, text)
        paths.append(out / "nodes" / path)
    write_text(out / PLAN_FILE, plan_text(plan))
    return (*paths, out / PLAN_FILE), tuple(notes)


def service_bundle(
    service: Service, wanted: Wanted, chosen: ServicePlan, plan: FleetPlan, fleet: Fleet, repository: Path
) -> tuple[Bundle, tuple[Reason, ...]]:
    """The rendered files of one service, planned for the kind it got, with its place in the fleet."""
    profile = with_instances(wanted.profiles[chosen.hardware], chosen.instances_allowed)
    intent = replace(service.intent, hardware=(chosen.hardware,))
    decided = plan_with(PlanRequest(intent=intent, profiles={chosen.hardware: profile}))
    bundle = bundle_for(service, decided, repository)
    knative = mode_of(service.manifest, service.source) is Mode.KNATIVE
    manifest = yaml.safe_load(bundle.files["inferenceservice.yaml"])
    scheduled, notes = schedule(manifest, plan.placement(chosen.service, fleet), fleet, knative=knative)
    files = {**bundle.files, "inferenceservice.yaml": to_yaml(scheduled)}
    if chosen.kind != CPU:
        instances = sum(stage.instances for stage in decided.stages)
        found = _on_gpu(files, chosen, fleet, instances)
        files |= found[0]
        notes += found[1]
    return replace(bundle, files=files), (*bundle.notes, *notes)


def _on_gpu(
    files: dict[str, str], chosen: ServicePlan, fleet: Fleet, instances: int
) -> tuple[dict[str, str], tuple[Reason, ...]]:
    """config.pbtxt of models that run in onnxruntime, with its execution provider and memory limit."""
    pool = next(pool for pool in fleet.pools if pool.name in chosen.pools)
    usable_bytes = pool.usable_bytes(chosen.kind.partition("/")[2])
    if not usable_bytes:
        return {}, ()
    settings = execution(usable_bytes, instances)
    changed = {}
    for path, text in files.items():
        if path.endswith(".pbtxt") and backend(config := parse_config(text, path)) == "onnxruntime":
            changed[path] = format_config(with_execution(config, settings))
    return changed, settings.notes if changed else ()


def node_files(plan: FleetPlan, fleet: Fleet) -> dict[str, str]:
    """What every node is cut into, mig-parted's configurations where NVIDIA's own do not have it, DRA's device classes."""
    nodes = [
        {"node": node.node, "pool": node.pool, "mig.config": node.config or "as it is",
         "gpus": [list(gpu) for gpu in node.gpus]}
        for node in plan.nodes
    ]  # fmt: skip
    files = {"layout.yaml": yaml.safe_dump({"nodes": nodes}, sort_keys=False, width=120)}
    if any(node.devices for node in plan.nodes):
        config = yaml.safe_dump(mig_config_map(plan.nodes), sort_keys=False, width=120)
        files["mig-parted.yaml"] = to_yaml(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": CONFIG_MAP, "namespace": "gpu-operator"},
                "data": {"config.yaml": config},
            }
        )
    dra = {pool.name for pool in fleet.pools if pool.naming.dra}
    parts = sorted(
        {each.kind.partition("/")[2] for each in plan.services if each.kind != CPU and dra & set(each.pools)}
    )
    if parts:
        files["device-classes.yaml"] = "---\n".join(to_yaml(device_class(part)) for part in parts if part != "shared")
    return files
