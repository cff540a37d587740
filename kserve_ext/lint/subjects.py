"""What rules look at, one after another: each function takes a project and gives the subjects of one sort."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kserve_ext.domain import Mode
from kserve_ext.intent.document import Node
from kserve_ext.lint.config import Config
from kserve_ext.lint.nodes import items
from kserve_ext.lint.project import Project
from kserve_ext.lint.service import Component, Runtime, Service


@dataclass(frozen=True, kw_only=True, eq=False)
class Pod:
    """A pod spec as written: its containers, where it is written, and the service or runtime that it belongs to."""

    node: Node  # holds securityContext and volumes
    containers: tuple[Node, ...]
    service: Service | None


def project_itself(project: Project) -> Iterator[Project]:
    yield project


def services(project: Project) -> Iterator[Service]:
    yield from project.services


def triton_services(project: Project) -> Iterator[Service]:
    """Services that Triton serves."""
    return (service for service in project.services if service.is_triton)


def configured_services(project: Project) -> Iterator[Service]:
    """Services whose model configs are among the files."""
    return (service for service in project.services if service.configs)


def components(project: Project) -> Iterator[Component]:
    """Predictors, transformers and explainers."""
    return (component for service in project.services for component in service.components)


def knative(project: Project) -> Iterator[Component]:
    """Components of services in Knative mode."""
    return (component for component in components(project) if component.service.mode is Mode.KNATIVE)


def standard(project: Project) -> Iterator[Component]:
    """Components of services in Standard mode."""
    return (component for component in components(project) if component.service.mode is Mode.STANDARD)


def runtimes(project: Project) -> Iterator[Runtime]:
    yield from project.runtimes


def pods(project: Project) -> Iterator[Pod]:
    """Every pod spec: of components and of runtimes."""
    for component in components(project):
        yield Pod(node=component.node, containers=component.containers, service=component.service)
    for runtime in project.runtimes:
        spec = runtime.node.get("spec")
        yield Pod(node=spec, containers=items(spec.get("containers")), service=None)


def containers(project: Project) -> Iterator[Node]:
    """Every container as written."""
    return (container for pod in pods(project) for container in pod.containers)


def autoscalers(project: Project) -> Iterator[Node]:
    """HorizontalPodAutoscalers and ScaledObjects."""
    yield from project.autoscalers


def configs(project: Project) -> Iterator[Config]:
    """Every config.pbtxt and configs/NAME.pbtxt."""
    yield from project.configs


def readable_configs(project: Project) -> Iterator[Config]:
    """The configs that Triton could parse."""
    return (config for config in project.configs if config.fault is None)
