"""A plan's numbers as the environment variables that a custom predictor's server reads: one plan serves both servers.

The names are made here and nowhere else; `kserve_ext.serving.settings` reads them by the same function.
"""

from __future__ import annotations

from kserve_ext.domain import Mode, Plan, StagePlan
from kserve_ext.errors import ManifestError, Problem
from kserve_ext.render.runtime import MARGIN_S, PRE_STOP_S, exit_timeout_s, library_environment, standard_grace_s

_PREFIX = "KSERVE_EXT_"


def variable_name(field: str) -> str:
    """The variable of one of the server's settings: `max_queue_delay_s` -> `KSERVE_EXT_MAX_QUEUE_DELAY`."""
    return _PREFIX + field.upper().removesuffix("_S").removesuffix("_BYTES")


def seconds_text(value: float) -> str:
    """Seconds to the microsecond, without an exponent: 0.0015 -> `0.0015s`."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


def planned_environment(
    plan: Plan, mode: Mode, source: str = "", pod_grace_s: float | None = None
) -> dict[str, str]:  # fmt: skip
    """The variables by name; `pod_grace_s` is that of the pods in Standard mode where it is not the plan's.

    Raises ManifestError for the plan of an ensemble, which one predictor is not.
    """
    stage = _only_stage(plan, source)
    drain_s, grace_s = _end(mode, plan.timeout_s, pod_grace_s or standard_grace_s(plan.timeout_s))
    settings = {
        "max_batch_size": str(stage.max_batch_size),
        "max_queue_delay_s": seconds_text(stage.max_queue_delay_s),
        "instances": str(stage.instances),
        "threads": str(stage.threads),
        "concurrency_limit": str(plan.concurrency_limit),
        "timeout_s": seconds_text(plan.timeout_s),
        "drain_delay_s": seconds_text(drain_s),
        "grace_period_s": seconds_text(grace_s),
    }
    return {variable_name(field): text for field, text in settings.items()} | library_environment(stage.threads)


def _end(mode: Mode, timeout_s: float, pod_grace_s: float) -> tuple[float, float]:
    """How long the server still takes requests after SIGTERM, and by when it has ended.

    Knative holds SIGTERM back until its proxy has drained, so there is nothing left to wait for. In Standard mode
    the server waits itself for the endpoints to forget the pod.
    """
    if mode is Mode.KNATIVE:
        return 0.0, float(exit_timeout_s(mode, timeout_s))
    return PRE_STOP_S, pod_grace_s - MARGIN_S


def _only_stage(plan: Plan, source: str) -> StagePlan:
    if len(plan.all_stages) == 1:
        return plan.stages[0]
    raise ManifestError(
        Problem(
            file=source,
            field="spec.predictor",
            what="a custom predictor is one model, and this is the plan of several",
            found=", ".join(stage.model for stage in plan.all_stages),
            allowed="the profile of the predictor itself",
        ),
        remedy="`kserve-ext package MODULE:CLASS --triton` makes it a model that `kserve-ext profile` measures",
    )
