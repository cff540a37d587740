"""Placeholder pods: how many replicas a rise of the load asks for before a new node could be there."""

from __future__ import annotations

import math

from kserve_ext.domain import Reason
from kserve_ext.policy.load import Values
from kserve_ext.units import format_duration


def placeholders(node_start_s: float, rates_rps: Values, capacity_rps: float, most: int) -> tuple[int, Reason]:
    """The count, and why; `most` more replicas can be asked for at all."""
    span_s = min(len(rates_rps) - 1, math.ceil(node_start_s))
    steepest_rps = max(0.0, float((rates_rps[span_s:] - rates_rps[: len(rates_rps) - span_s]).max()))
    wanted = max(1, math.ceil(steepest_rps / capacity_rps - 1e-9))
    chosen = min(most, wanted)
    text = (
        f"in the {format_duration(node_start_s)} that a node takes to come the load rises by {steepest_rps:.4g} rps, "
        f"{steepest_rps / capacity_rps:.3g} replicas of {capacity_rps:.4g} rps: pods of low priority keep room for so many, "
        f"and when they are pushed out, a node is ordered for them"
    )
    if chosen < wanted:
        text += f"; only {most} more replicas may ever be asked for"
    numbers = {"node_start_s": node_start_s, "rise_rps": steepest_rps, "capacity_rps": capacity_rps}
    return chosen, Reason(field="placeholders", code="placeholders-rise-within-a-node", text=text, numbers=numbers)
