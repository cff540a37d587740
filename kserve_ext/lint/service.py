"""An InferenceService, its components and its runtime, as rules ask about them: mode, container, limits, GPUs.

Nodes in, answers out. What is not written, or of a wrong sort, is absent; nothing is raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kserve_ext.domain import Mode
from kserve_ext.intent.annotations import PREFIX, parse_annotation
from kserve_ext.intent.document import Node
from kserve_ext.intent.mode import MODE_ANNOTATION
from kserve_ext.intent.predictor import OTHER_SERVERS
from kserve_ext.lint.config import Config
from kserve_ext.lint.facts import ClusterFacts
from kserve_ext.lint.nodes import accelerators, arguments, items, main_container, quantity

AUTOSCALING = "autoscaling.knative.dev/"
AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
MODES = {
    "Knative": Mode.KNATIVE, "Serverless": Mode.KNATIVE, "Standard": Mode.STANDARD, "RawDeployment": Mode.STANDARD,
}  # fmt: skip
STOCK_TRITON = "kserve-tritonserver"  # the runtime that comes with KServe: no ports, no probes, no /dev/shm
FRAMEWORKS = ("model", "triton", *OTHER_SERVERS)
COMPONENTS = ("predictor", "transformer", "explainer")

_TRITON_FORMATS = ("triton", "tensorrt", "onnx")  # what KServe's own Triton runtime is selected for


@dataclass(frozen=True, kw_only=True, eq=False)
class Runtime:
    """A ServingRuntime or ClusterServingRuntime."""

    node: Node

    @property
    def name(self) -> str:
        return str(self.node.get("metadata", "name").value)

    @cached_property
    def container(self) -> Node:
        """The container that serves."""
        return main_container(self.node.get("spec"))

    @property
    def is_triton(self) -> bool:
        """Whether its image or its command is Triton's."""
        return "tritonserver" in str(self.container.get("image").value) or "tritonserver" in arguments(self.container)


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """The predictor, transformer or explainer of a service."""

    service: Service
    name: str
    node: Node

    @cached_property
    def container(self) -> Node:
        """Where image, resources and arguments of the serving container are written."""
        for key in FRAMEWORKS:
            if self.node.get(key).value is not None:
                return self.node.get(key)
        return main_container(self.node)

    @property
    def is_custom(self) -> bool:
        """Whether it brings its own container and no model for a runtime."""
        return isinstance(self.node.get("containers").value, tuple) and not any(
            self.node.get(key).value is not None for key in FRAMEWORKS
        )

    @cached_property
    def containers(self) -> tuple[Node, ...]:
        """All containers written here, the serving one first."""
        others = [found for found in items(self.node.get("containers")) if found is not self.container]
        return (*((self.container,) if isinstance(self.container.value, dict) else ()), *others)

    @cached_property
    def accelerators(self) -> dict[str, Node]:
        """GPUs and slices asked for, by resource name; the runtime's where the service names none."""
        own = accelerators(self.container)
        if own or self.name != "predictor" or self.service.runtime is None:
            return own
        return accelerators(self.service.runtime.container)

    @cached_property
    def autoscaling(self) -> dict[str, Node]:
        """Knative's autoscaling annotations without their prefix; the component's win over the service's."""
        written = (self.service.annotations, self.node.get("annotations"))
        return {
            key.removeprefix(AUTOSCALING): node
            for annotations in written
            for key, node in annotations.items()
            if key.startswith(AUTOSCALING)
        }

    def annotation(self, name: str) -> Node:
        """An annotation of the component, or of the service where the component has none."""
        own = self.node.get("annotations", name)
        return own if own.value is not None else self.service.annotations.get(name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Service:
    """An InferenceService with the runtime and the configs that belong to it."""

    node: Node
    facts: ClusterFacts | None = None
    runtime: Runtime | None = None
    configs: tuple[Config, ...] = ()

    @cached_property
    def name(self) -> str:
        return str(self.node.get("metadata", "name").value)

    @cached_property
    def namespace(self) -> str:
        return str(self.node.get("metadata", "namespace").value or "default")

    @cached_property
    def annotations(self) -> Node:
        return self.node.get("metadata", "annotations")

    @cached_property
    def stated_mode(self) -> Node:
        return self.annotations.get(MODE_ANNOTATION)

    @cached_property
    def mode(self) -> Mode | None:
        """The deployment mode, or the cluster's where it is known; None: unknown."""
        stated = str(self.stated_mode.value or (self.facts.default_mode if self.facts else ""))
        return MODES.get(stated)

    @cached_property
    def components(self) -> tuple[Component, ...]:
        spec = self.node.get("spec")
        return tuple(
            Component(service=self, name=name, node=spec.get(name))
            for name in COMPONENTS
            if isinstance(spec.get(name).value, dict)
        )

    @cached_property
    def predictor(self) -> Component:
        return Component(service=self, name="predictor", node=self.node.get("spec", "predictor"))

    @cached_property
    def autoscaler_class(self) -> str:
        """The class in Standard mode; hpa where none is named."""
        return str(self.annotations.get(AUTOSCALER_CLASS).value or "hpa")

    @cached_property
    def is_triton(self) -> bool:
        """Whether Triton serves it, as far as the manifest and the runtime tell."""
        if self.runtime is not None:
            return self.runtime.is_triton
        predictor = self.predictor
        named = str(predictor.container.get("runtime").value or "")
        return (
            predictor.node.get("triton").value is not None
            or predictor.container.get("modelFormat", "name").value in _TRITON_FORMATS
            or "triton" in named
            or "tritonserver" in str(predictor.container.get("image").value)
        )

    @cached_property
    def stock_runtime(self) -> bool:
        """Whether KServe's own Triton runtime serves it: named, or chosen for the format because none is named.

        A service with an SLO that names none is served by the runtime that `kserve-ext render` makes for it.
        """
        predictor, named = self.predictor, self.predictor.container.get("runtime").value
        chosen = predictor.node.get("triton").value is not None or (
            predictor.container.get("modelFormat", "name").value in _TRITON_FORMATS
        )
        return self.runtime is None and (named == STOCK_TRITON or (named is None and chosen and self.slo_p99_s is None))

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """Arguments of the server: the runtime's, then the service's, as KServe joins them."""
        own = arguments(self.predictor.container)
        return (*(arguments(self.runtime.container) if self.runtime else ()), *own)

    @cached_property
    def cpu_limit(self) -> float | None:
        """CPU cores that the serving container may use, where it or its runtime says so."""
        sources = [self.predictor.container, *([self.runtime.container] if self.runtime else ())]
        for container in sources:
            for kind in ("limits", "requests"):
                if (found := quantity(container.get("resources", kind, "cpu"))) is not None:
                    return found
        return None

    @cached_property
    def slo_p99_s(self) -> float | None:
        """The p99 that is annotated, where it can be read."""
        text = self.annotations.get(PREFIX + "slo-p99").value
        try:
            return float(parse_annotation(PREFIX + "slo-p99", text)) if isinstance(text, str) else None
        except ValueError:
            return None
