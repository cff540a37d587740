"""A model among neighbours: its service times while instances of other models are busy in the same server.

A neighbour's instance is taken for one more of the model's own that is always busy: how much instances slow each other
down was measured with the model's own. Beyond what was measured, instances on a CPU, each with cores of its own, slow
no further; on an accelerator they take turns. So what is planned holds whatever the neighbours do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kserve_ext.policy.replica import Replica
from kserve_ext.simulate.law import ServiceLaw


def crowded(replica: Replica, own: int, others: int, *, shared: bool) -> Replica:
    """The replica with `own` instances at most of each stage, and `others` of other models busy beside them."""
    return replace(replica, laws=tuple(_crowded(law, own, others, shared=shared) for law in replica.laws))


def extended(law: ServiceLaw, most: int, *, shared: bool) -> ServiceLaw:
    """The law for up to `most` busy instances of whatever model."""
    return replace(law, values_s=tuple(_with_busy(law, busy, shared) for busy in range(1, most + 1)))


def _crowded(law: ServiceLaw, own: int, others: int, *, shared: bool) -> ServiceLaw:
    return replace(law, values_s=extended(law, own + others, shared=shared).values_s[others:])


def _with_busy(law: ServiceLaw, busy: int, shared: bool) -> tuple[tuple[float, ...], ...]:
    """Values with so many busy: no less than with fewer, which measurements may say by chance."""
    known = min(busy, law.instances)
    turns = busy / known if shared else 1.0
    return tuple(
        _slowest([law.values_s[count][row] for count in range(known)], turns) for row in range(len(law.batches))
    )


def _slowest(curves: Sequence[tuple[float, ...]], turns: float) -> tuple[float, ...]:
    slowest: list[float] = (np.max(np.array(curves), axis=0) * turns).tolist()
    return tuple(slowest)
