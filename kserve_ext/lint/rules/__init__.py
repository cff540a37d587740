"""All rules, in the order of their ids. Adding one means: write it, add it to its module's RULES, run the tests."""

from __future__ import annotations

from kserve_ext.lint.finding import Rule
from kserve_ext.lint.rules import (
    autoscalers,
    batching,
    cluster,
    ensemble,
    knative,
    meta,
    mode,
    pods,
    repository,
    scaling,
    serving,
    standard,
    triton,
    webhook,
)

_MODULES = (
    meta, mode, knative, standard, webhook, serving, scaling, triton, batching, ensemble, repository, pods, autoscalers, cluster,
)  # fmt: skip

RULES: tuple[Rule, ...] = tuple(sorted((one for module in _MODULES for one in module.RULES), key=lambda one: one.id))
BY_ID = {one.id: one for one in RULES}
