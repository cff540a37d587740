"""Reading nodes of a manifest as what they should be: a list, a number, a quantity, a container's words. No I/O."""

from __future__ import annotations

from kserve_ext.intent.document import Node
from kserve_ext.intent.predictor import MAIN_CONTAINER
from kserve_ext.units import parse_quantity

_GPU_PREFIXES = ("nvidia.com/gpu", "nvidia.com/mig", "amd.com/gpu", "gpu.intel.com/")


def items(node: Node) -> tuple[Node, ...]:
    """The items of a list; none for anything else."""
    return node.value if isinstance(node.value, tuple) else ()


def whole(node: Node) -> int | None:
    """A whole number, or None for anything else."""
    return node.value if type(node.value) is int else None


def number(node: Node) -> float | None:
    """A number, also one written as text; None for anything else."""
    try:
        return float(node.value) if isinstance(node.value, str | int | float) else None
    except ValueError:
        return None


def quantity(node: Node) -> float | None:
    """A Kubernetes quantity as a plain number; None where there is none."""
    try:
        return None if node.value is None or isinstance(node.value, bool) else parse_quantity(node.text)
    except ValueError:
        return None


def arguments(container: Node) -> tuple[str, ...]:
    """Words of a container's command and arguments; an argument with spaces is taken apart."""
    written = (*items(container.get("command")), *items(container.get("args")))
    return tuple(word for one in written for word in str(one.value).split())


def accelerators(container: Node) -> dict[str, Node]:
    """GPUs and slices of a container by resource name, limits before requests."""
    return {
        name: node
        for kind in ("requests", "limits")
        for name, node in container.get("resources", kind).items()
        if name.startswith(_GPU_PREFIXES) and node.value not in (0, "0")
    }


def main_container(holder: Node) -> Node:
    """The container that answers requests, or a node without a value."""
    containers = items(holder.get("containers"))
    if not containers:
        return holder.get("containers")
    return next((found for found in containers if found.get("name").value == MAIN_CONTAINER), containers[0])
