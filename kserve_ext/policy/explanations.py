"""The sentences behind the choices of a plan: why this hardware, batch, delay, instance count, capacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kserve_ext.domain import Intent, Prediction, Profile, Reason, StagePlan
from kserve_ext.policy.batching import Candidate
from kserve_ext.policy.load import Load, course
from kserve_ext.policy.replica import Replica
from kserve_ext.policy.request import Settings
from kserve_ext.units import format_duration


def set_by_user(field: str, value: float) -> Reason:
    """The reason of a field that the manifest fixes."""
    return Reason(
        field=field, code="set-by-user", text=f"{value:g} set in the manifest", numbers={"value": float(value)}
    )


def hardware(intent: Intent, profile: Profile, refused: Mapping[str, str]) -> Reason:
    """Why this hardware kind; `refused` says of each kind that was tried before it what binds there."""
    text = f"first of the kinds allowed ({', '.join(intent.hardware)}) that holds the SLO"
    for kind in intent.hardware[: intent.hardware.index(profile.hardware)]:
        text += f"; {kind} " + (f"does not ({refused[kind]} binds)" if kind in refused else "has no profile")
    return Reason(field="hardware", code="hardware-first-that-holds", text=text)


def stages(replica: Replica, candidates: Sequence[Candidate], chosen: Candidate) -> tuple[Reason, ...]:
    """Why each stage has its batch size, delay, instances and threads."""
    main = chosen.bottleneck(replica)
    reasons: list[Reason] = []
    for index, stage in enumerate(chosen.stages):
        path = f"stages[{index}]"
        reasons.append(_batch(replica, candidates, chosen, index, path))
        reasons.append(_delay(stage, path))
        reasons.append(_instances(replica, stage, index, main, path))
        reasons.append(
            Reason(field=f"{path}.threads", code="threads-one-per-instance", numbers={"threads": float(stage.threads)},
                   text=f"{stage.threads} per instance, as profiled; onnxruntime would otherwise take every core of the node")
        )  # fmt: skip
    return tuple(reasons)


def _batch(replica: Replica, candidates: Sequence[Candidate], chosen: Candidate, index: int, path: str) -> Reason:
    field, stage, law = f"{path}.max_batch_size", chosen.stages[index], replica.laws[index]
    if stage.max_batch_size == 0:
        return Reason(
            field=field, code="batching-impossible",
            text=f"{stage.model} has a fixed batch dimension: requests cannot be merged, so batching is off",
        )  # fmt: skip
    one_s, full_s = law.mean_s(1, stage.instances), law.mean_s(stage.max_batch_size, stage.instances)
    gain = stage.max_batch_size * one_s / full_s
    numbers = {"s1_s": one_s, "s_batch_s": full_s, "gain": gain, "capacity_rps": chosen.capacity_rps}
    if stage.max_batch_size == 1:
        text = f"batching gains nothing here: one row takes {format_duration(one_s)}, and no larger batch carries more"
        return Reason(field=field, code="batching-not-worth-it", text=text, numbers=numbers)
    text = (
        f"a batch of {stage.max_batch_size} takes {format_duration(full_s)} against {format_duration(one_s)} for one row: "
        f"{gain:.3g} x the throughput"
    )
    other = next((c for c in candidates if c.stages[index].max_batch_size != stage.max_batch_size), None)
    if other is not None:
        text += (
            f"; next best {other.stages[index].max_batch_size} carries {other.capacity_rps:.4g} rps within the SLO, "
            f"this {chosen.capacity_rps:.4g}"
        )
    return Reason(field=field, code="batch-most-capacity-within-slo", text=text, numbers=numbers)


def _delay(stage: StagePlan, path: str) -> Reason:
    field = f"{path}.max_queue_delay_s"
    if stage.max_queue_delay_s == 0:
        text = "batches form while the instances are busy; waiting on purpose would only add to the latency"
        return Reason(field=field, code="delay-none", text=text)
    text = f"waiting up to {format_duration(stage.max_queue_delay_s)} fills batches further and carries more within the SLO"
    return Reason(field=field, code="delay-fills-batches", text=text, numbers={"delay_s": stage.max_queue_delay_s})


def _instances(replica: Replica, stage: StagePlan, index: int, main: int, path: str) -> Reason:
    field, law = f"{path}.instances", replica.laws[index]
    if index != main:
        text = f"enough that {stage.model} is not what binds ({replica.models[main]} is)"
        return Reason(field=field, code="instances-side-step", text=text)
    batch = max(1, stage.max_batch_size)
    rates = {count: law.saturated_rps(batch, count) for count in range(1, law.instances + 1)}
    shown = ", ".join(f"{count}: {rate:.4g} rps" for count, rate in rates.items())
    return Reason(
        field=field, code="instances-throughput", text=f"saturated throughput at batch {batch} by instances: {shown}",
        numbers={f"saturated_rps_{count}": rate for count, rate in rates.items()},
    )  # fmt: skip


def capacity(chosen: Candidate, intent: Intent, settings: Settings) -> Reason:
    """Why a replica is taken to carry this much."""
    origin = (
        "computed exactly, from the law of the queue of one instance that batches without delay"
        if chosen.exact
        else f"simulated, {settings.simulated_requests} requests for each rate"
    )
    text = (
        f"the highest Poisson rate at which p99 stays within {format_duration(intent.slo.p99_s)} less {settings.margin:.0%} "
        f"({origin}); saturation is at {chosen.saturated_rps:.4g} rps"
    )
    numbers = {"saturated_rps": chosen.saturated_rps, "margin": settings.margin, "p99_idle_s": chosen.p99_idle_s}
    code = "capacity-exact-p99" if chosen.exact else "capacity-simulated-p99"
    return Reason(field="capacity_rps", code=code, text=text, numbers=numbers)


def prediction(found: Prediction, settings: Settings) -> Reason:
    """Where the printed latencies come from."""
    if found.exact:
        text = f"at {found.rate_rps:.4g} rps a replica, computed exactly from the law of its batch queue"
    else:
        text = f"at {found.rate_rps:.4g} rps a replica, from {settings.confirmed_requests} simulated requests"
    code = "prediction-exact" if found.exact else "prediction-simulated"
    return Reason(field="prediction.p99_s", code=code, text=text, numbers={"rate_rps": found.rate_rps})


def margin(settings: Settings) -> Reason:
    """Why a share of the SLO is kept free."""
    text = f"{settings.margin:.0%} of the SLO is kept free: the predicted p99 is within about that of a real server's"
    return Reason(field="margin", code="margin-simulation-error", text=text, numbers={"margin": settings.margin})


def replicas_at_high_rate(needed: int, intent: Intent, chosen: Candidate, load: Load | None) -> Reason:
    """Why so many replicas at the busy rate, and how many over the day where the load is known."""
    text = f"{intent.rate.high_rps:.4g} rps / {chosen.capacity_rps:.4g} rps a replica, rounded up"
    numbers = {"high_rps": intent.rate.high_rps, "capacity_rps": chosen.capacity_rps}
    if load is not None:
        over = course(load, chosen.capacity_rps)
        spans = "by spans of four hours" if over.by_day else "by sixths"
        text += (
            f"; {load.source} takes {over.least} to {over.most}, {over.mean:.3g} on average "
            f"({spans}: {', '.join(f'{part:.3g}' for part in over.parts)})"
        )
        numbers |= {"least": float(over.least), "mean": over.mean, "most": float(over.most)}
    return Reason(field="replicas_at_high_rate", code="replicas-rate-over-capacity", text=text, numbers=numbers)
