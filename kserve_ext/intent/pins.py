"""What a person has already set by hand in an InferenceService: the nodes of its spec in, domain.Pins out.

Fields are read as KServe reads them: maxReplicas 0 is no limit. Wrong types are noted in `problems`, and reading goes
on. Nothing is changed here, and nothing is judged that KServe would take.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from kserve_ext.domain import Pins
from kserve_ext.errors import Problem
from kserve_ext.intent.autoscaling import SCALE_METRICS, read_autoscaling
from kserve_ext.intent.document import Node
from kserve_ext.intent.predictor import served_container
from kserve_ext.units import QUANTITY_ALLOWED, parse_quantity

_INT32_MAX = 2**31 - 1
_ACCELERATOR_PREFIXES = ("nvidia.com/", "amd.com/", "gpu.intel.com/")


def read_pins(service: Node, problems: list[Problem]) -> Pins:
    """The fields a person has set. `service` is the InferenceService."""
    predictor = service.get("spec", "predictor")
    low = _count(predictor.get("minReplicas"), problems, smallest=0)
    high = _count(predictor.get("maxReplicas"), problems, smallest=0) or None
    if low is not None and high is not None and high < low:
        node = predictor.get("maxReplicas")
        problems.append(node.problem("below minReplicas, which KServe refuses", allowed=f"{low} or more"))
    metric = predictor.get("scaleMetric")
    if metric.value is not None and metric.value not in SCALE_METRICS:
        problems.append(metric.problem("not a scale metric", allowed=", ".join(SCALE_METRICS)))
    container = served_container(predictor)
    return Pins(
        container_concurrency=_count(predictor.get("containerConcurrency"), problems, smallest=0),
        min_replicas=low,
        max_replicas=high,
        scale_target=_count(predictor.get("scaleTarget"), problems, smallest=1),
        scale_metric=metric.value if isinstance(metric.value, str) else None,
        timeout_s=_count(predictor.get("timeout"), problems, smallest=1),
        cpu_cores=_resource(container, "cpu", problems),
        memory_bytes=_resource(container, "memory", problems),
        accelerators=_accelerators(container, problems),
        autoscaling=read_autoscaling(service, problems),
    )


def _count(node: Node, problems: list[Problem], *, smallest: int) -> int | None:
    if node.value is None:
        return None
    if type(node.value) is int and smallest <= node.value <= _INT32_MAX:  # not isinstance: true is an int there
        return node.value
    problems.append(node.problem("not a whole number in range", allowed=f"a whole number from {smallest} up"))
    return None


def _quantity(node: Node, problems: list[Problem], accept: Callable[[float], bool], allowed: str) -> float | None:
    if node.value is None:
        return None
    if isinstance(node.value, str | int | float) and not isinstance(node.value, bool):
        try:
            value = parse_quantity(node.text)
        except (ValueError, ArithmeticError):
            value = math.nan
        if math.isfinite(value) and accept(value):
            return value
    problems.append(node.problem("not a quantity in range", allowed=allowed))
    return None


def _resource(container: Node, name: str, problems: list[Problem]) -> float | None:
    """The limit, or the request where there is no limit."""
    read = {
        kind: _quantity(container.get("resources", kind, name), problems, lambda value: value > 0, QUANTITY_ALLOWED)
        for kind in ("requests", "limits")
    }
    return read["limits"] if read["limits"] is not None else read["requests"]


def _accelerators(container: Node, problems: list[Problem]) -> dict[str, int]:
    """Whole devices by resource name; a limit counts before a request, and a zero is no pin."""
    counts: dict[str, int] = {}
    for kind in ("requests", "limits"):
        for name, node in container.get("resources", kind).items():
            if name.startswith(_ACCELERATOR_PREFIXES):
                counts[name] = int(_quantity(node, problems, _is_whole, "a whole number of devices") or 0)
    return {name: count for name, count in counts.items() if count}


def _is_whole(value: float) -> bool:
    return value >= 0 and value % 1 == 0
