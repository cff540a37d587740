"""Stages with times that can be worked out by hand."""

from __future__ import annotations

from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.law import LEVELS, ServiceLaw


def stage(
    *, fixed_s: float = 0.01, row_s: float = 0.002, max_batch: int = 8, instances: int = 1, delay_s: float | None = 0.0,
    slowing: float = 0.0,
) -> Stage:  # fmt: skip
    """s(b) = fixed + row x b, longer by `slowing` for each other busy instance."""
    values_s = tuple(
        tuple(((fixed_s + row_s * batch) * (1 + slowing * others),) * LEVELS for batch in range(1, max_batch + 1))
        for others in range(instances)
    )
    return Stage(
        law=ServiceLaw(batches=tuple(range(1, max_batch + 1)), values_s=values_s),
        max_batch_size=max_batch, max_queue_delay_s=delay_s, instances=instances,
    )  # fmt: skip


def one_by_one(service_s: float = 1.0, *, instances: int = 1) -> Stage:
    """No batching: `instances` requests at a time, each takes `service_s`."""
    return stage(fixed_s=service_s, row_s=0.0, max_batch=1, instances=instances, delay_s=None)
