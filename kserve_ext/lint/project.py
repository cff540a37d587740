"""Everything that is looked at together: services, runtimes, autoscalers and model configs, each knowing its others.

A service is joined with the runtime it names and with the configs of the models it loads, as far as they are given.
Of several with one name the one whose file is nearest wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from kserve_ext.intent.annotations import PREFIX
from kserve_ext.intent.document import Node
from kserve_ext.lint.config import Config
from kserve_ext.lint.facts import ClusterFacts
from kserve_ext.lint.ignores import Ignore
from kserve_ext.lint.service import Runtime, Service
from kserve_ext.render.pbtxt import is_ensemble, steps

KINDS = frozenset(
    {"InferenceService", "ServingRuntime", "ClusterServingRuntime", "HorizontalPodAutoscaler", "ScaledObject"}
)

_CONFIG_NAME = "--model-config-name="
_Located = TypeVar("_Located")


@dataclass(frozen=True, kw_only=True, eq=False)
class Project:
    """All that is looked at in one run."""

    services: tuple[Service, ...] = ()
    runtimes: tuple[Runtime, ...] = ()
    autoscalers: tuple[Node, ...] = ()  # HorizontalPodAutoscalers and ScaledObjects
    configs: tuple[Config, ...] = ()
    facts: ClusterFacts | None = None
    ignores: tuple[Ignore, ...] = ()
    known_rules: frozenset[str] = frozenset()

    @cached_property
    def models(self) -> Mapping[tuple[str, str], Config]:
        """The config.pbtxt of each model, by repository folder and name."""
        return {(repository_of(found), found.model): found for found in self.configs if not found.variant}


def build_project(
    objects: Sequence[Node],
    configs: Sequence[Config],
    *,
    facts: ClusterFacts | None = None,
    ignores: Iterable[Ignore] = (),
    known_rules: Iterable[str] = (),
) -> Project:
    """Join what was read."""
    of_kind: dict[str, list[Node]] = {kind: [] for kind in KINDS}
    for found in objects:
        of_kind.get(str(found.get("kind").value), []).append(found)
    runtimes = tuple(Runtime(node=found) for found in (*of_kind["ServingRuntime"], *of_kind["ClusterServingRuntime"]))
    by_name: dict[str, list[Runtime]] = {}
    for runtime in runtimes:
        by_name.setdefault(runtime.name, []).append(runtime)
    services = tuple(
        _joined(found, by_name, configs, facts, alone=len(of_kind["InferenceService"]) == 1)
        for found in of_kind["InferenceService"]
    )
    return Project(
        services=services,
        runtimes=runtimes,
        autoscalers=(*of_kind["HorizontalPodAutoscaler"], *of_kind["ScaledObject"]),
        configs=tuple(configs),
        facts=facts,
        ignores=tuple(ignores),
        known_rules=frozenset(known_rules),
    )


def _joined(
    node: Node,
    runtimes: Mapping[str, Sequence[Runtime]],
    configs: Sequence[Config],
    facts: ClusterFacts | None,
    *,
    alone: bool,
) -> Service:
    bare = Service(node=node, facts=facts)
    named = runtimes.get(str(bare.predictor.container.get("runtime").value), ())
    service = Service(node=node, facts=facts, runtime=_nearest(node.file, [(one.node.file, one) for one in named]))
    if not configs or not service.is_triton:
        return service
    served = tuple(_served(service, configs, alone=alone))
    return Service(node=node, facts=facts, runtime=service.runtime, configs=served)


def _served(service: Service, configs: Sequence[Config], *, alone: bool) -> Iterator[Config]:
    """The configs of the models that a service loads: one model with its steps, or a whole repository."""
    uri = str(service.predictor.container.get("storageUri").value or "").rstrip("/")
    model = str(service.annotations.get(PREFIX + "model").value or uri.rpartition("/")[2] or service.name)
    plain = [one for one in configs if not one.variant]
    repositories = {repository_of(one) for one in plain}
    start = _nearest(service.node.file, [(one.file, one) for one in plain if one.model == model])
    if start is not None:
        repository = repository_of(start)
        names = list(_with_steps(start, {one.model: one for one in plain if repository_of(one) == repository}))
    else:
        matching = {one for one in repositories if one.rpartition("/")[2] == model} or (
            repositories if alone else set()
        )
        if len(matching) != 1:
            return
        (repository,) = matching
        names = [one.model for one in plain if repository_of(one) == repository]
    variant = next((arg.removeprefix(_CONFIG_NAME) for arg in service.arguments if arg.startswith(_CONFIG_NAME)), "")
    for name in names:
        mine = [one for one in configs if one.model == name and repository_of(one) == repository]
        yield next((one for one in mine if one.variant and one.variant == variant), mine[0])


def _with_steps(start: Config, models: Mapping[str, Config]) -> Iterable[str]:
    found: dict[str, None] = {}
    waiting = [start]
    while waiting:
        config = waiting.pop()
        if config.model not in found:
            found[config.model] = None
            if is_ensemble(config.message):
                waiting += [models[step] for step in steps(config.message) if step in models]
    return found


def repository_of(config: Config) -> str:
    """The folder that holds the model's folder, from the file's name."""
    parts = config.file.split("/")
    return "/".join(parts[: -3 if config.variant else -2])


def _nearest(file: str, candidates: Sequence[tuple[str, _Located]]) -> _Located | None:
    """The candidate whose file shares the most leading folders with `file`."""
    here = file.split("/")[:-1]

    def shared(other: str) -> int:
        count = 0
        for mine, theirs in zip(here, other.split("/")[:-1], strict=False):
            if mine != theirs:
                break
            count += 1
        return count

    return max(candidates, key=lambda candidate: shared(candidate[0]), default=("", None))[1]
