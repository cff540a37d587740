"""The main job on one machine: profile, plan, render, serve, load, compare, report.

In: a service and a model repository. Out: a RunResult, and below the output folder the bundle, the profile,
run.json and report.html. The plan is measured beside the untuned configuration under the same arrivals.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kserve_ext import __version__, files
from kserve_ext.bench.measure import Outcome, Verdict
from kserve_ext.bench.payload import Sample
from kserve_ext.bench.profiler import Progress, is_current
from kserve_ext.bench.samples import made_up_samples, read_samples
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.bench.verify import verify
from kserve_ext.bundles import bundle_for, write_bundle
from kserve_ext.domain import Intent, Measurement, Plan, Prediction, Profile, Protocol, Service
from kserve_ext.hosting import Hosted, hosted
from kserve_ext.library import check_alone, profile_path, read_profile, write_profile
from kserve_ext.measuring import measure_profile
from kserve_ext.plugins import plan_with
from kserve_ext.policy import PlanRequest
from kserve_ext.report.assemble import assemble
from kserve_ext.report.content import Command, RunReport
from kserve_ext.report.page import render_html

Say = Callable[[str], None]

_SCHEMES = {Protocol.REST: "http", Protocol.GRPC: "grpc"}
_LEAST_REQUESTS = 1000  # in one load run: ten beyond p99
_LEAST_LOAD_S = 10.0
_MOST_LOAD_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run found. `measured` and `verdicts` are by protocol, the service's own first."""

    verdict: str  # what was seen, by protocol
    profile: Profile
    plan: Plan
    measured: Mapping[Protocol, Measurement]
    verdicts: Mapping[Protocol, Verdict]
    untuned: Measurement
    out: Path

    @property
    def outcome(self) -> Outcome:
        """Held when every protocol held it, missed when one missed it, else cannot tell."""
        found = {verdict.outcome for verdict in self.verdicts.values()}
        if found == {Outcome.HELD}:
            return Outcome.HELD
        return Outcome.MISSED if Outcome.MISSED in found else Outcome.UNKNOWN

    @property
    def held(self) -> bool:
        return self.outcome is Outcome.HELD

    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        protocol = self.plan.protocol
        return {
            "held": self.held,
            "outcome": str(self.outcome),
            "verdict": self.verdict,
            "service": self.plan.service,
            "protocol": str(protocol),
            "slo_p99_s": self.plan.slo.p99_s,
            "rate_rps": self.plan.prediction.rate_rps,
            "replicas_at_high_rate": self.plan.replicas_at_high_rate,
            "predicted": _figures(self.plan.prediction),
            "measured": _figures(self.measured[protocol]),
            "untuned": _figures(self.untuned),
            "measured_by_protocol": {str(each): _figures(seen) for each, seen in self.measured.items()},
            "attainment": {str(each): verdict.attainment for each, verdict in self.verdicts.items()},
        }


def _figures(seen: Measurement | Prediction) -> dict[str, float]:
    return {
        "throughput_rps": seen.throughput_rps,
        "p50_s": seen.p50_s,
        "p95_s": seen.p95_s,
        "p99_s": seen.p99_s,
        "mean_batch": seen.mean_batch,
    }


def run(
    service: Service,
    repository: Path,
    out: Path,
    *,
    beside: Path,
    reprofile: bool = False,
    seed: int = 0,
    say: Say = lambda text: None,
    progress: Progress = lambda done, total, label: None,
) -> RunResult:
    """Do the whole job for one service on this machine; one replica is served, at its share of the busy rate.

    Raises InputError, InfeasibleError, TritonError; BusyError when another run writes to `out`.
    """
    intent = service.intent
    check_alone(service, "run")
    with (
        files.exclusive(out),
        hosted(repository, intent.model, log_file=out / "triton.log") as host,
    ):
        say(f"Triton {host.control.version()} serves {intent.model} from {repository}")
        profile = _profile(host, intent, out, beside=beside, fresh=reprofile, say=say, progress=progress)
        plan = plan_with(PlanRequest(intent=intent, profiles={profile.hardware: profile}))
        bundle = bundle_for(service, plan, repository)
        write_bundle(bundle, out / "bundle")
        say(f"planned: {_in_short(plan)}; manifests in {out / 'bundle'}")
        host.load_planned(plan.stages)
        samples = read_samples(repository, intent.model) or made_up_samples(_target(host, plan.protocol), seed)
        verdicts = _load_by_protocol(host, plan, samples, seed, say)
        say(f"the same load on the untuned configuration: no batching, one instance, {plan.protocol}")
        host.load_untuned()
        untuned = _load(host, plan, plan.protocol, samples, seed)
    result = _result(plan, profile, verdicts, untuned.measurement, out)
    files.write_text(out / "run.json", json.dumps(result.record(), indent=2) + "\n")
    files.write_text(out / "report.html", render_html(_report(result, service, repository)))
    return result


def _profile(
    host: Hosted, intent: Intent, out: Path, *, beside: Path, fresh: bool, say: Say, progress: Progress
) -> Profile:
    """The profile to plan with: the one annotated, a current one of this host, or a new one."""
    if intent.profile is not None:
        return read_profile(beside / intent.profile, model=intent.model)
    hardware = intent.hardware[0]
    kept = out / "profiles" / f"{intent.model}-{hardware.replace('/', '_')}.json"
    for path in () if fresh else (profile_path(host.repository, intent.model, hardware), kept):
        if path.exists() and is_current(
            profile := read_profile(path, model=intent.model), host.repository, host.models
        ):
            say(f"profile: {path}, measured {profile.measured_at}")
            return profile
    say(f"profiling {intent.model} on this machine as {hardware}")
    profile = measure_profile(host, hardware=hardware, progress=progress, resume_dir=out / "profiles" / intent.model)
    write_profile(kept, profile)
    say(f"profile: {kept}")
    return profile


def _load_by_protocol(
    host: Hosted, plan: Plan, samples: Sequence[Sample], seed: int, say: Say
) -> Mapping[Protocol, Verdict]:
    verdicts: dict[Protocol, Verdict] = {}
    for protocol in (plan.protocol, *(each for each in Protocol if each is not plan.protocol)):
        say(f"load: {plan.prediction.rate_rps:.4g} rps, Poisson, over {protocol} for {load_s(plan):.0f} s")
        verdicts[protocol] = _load(host, plan, protocol, samples, seed)
    return verdicts


def _load(host: Hosted, plan: Plan, protocol: Protocol, samples: Sequence[Sample], seed: int) -> Verdict:
    return verify(
        _target(host, protocol),
        samples,
        slo=plan.slo,
        rate_rps=plan.prediction.rate_rps,
        duration_s=load_s(plan),
        seed=seed,
        counters=host.counters,
    )


def _target(host: Hosted, protocol: Protocol) -> Target:
    return parse_target(host.url(protocol), model=host.model)


def load_s(plan: Plan) -> float:
    """Seconds that each load run lasts: enough requests for a p99, within bounds that people wait for."""
    return min(_MOST_LOAD_S, max(_LEAST_LOAD_S, math.ceil(_LEAST_REQUESTS / plan.prediction.rate_rps)))


def _in_short(plan: Plan) -> str:
    stages = ", ".join(
        f"{stage.model}: batch {stage.max_batch_size}, {stage.instances} instance{'s' if stage.instances > 1 else ''}"
        for stage in plan.stages
    )
    target = plan.horizontal.target if plan.horizontal else plan.scaling.target
    return (
        f"{stages}; concurrency limit {plan.concurrency_limit}, target {target:g}; "
        f"{plan.capacity_rps:.4g} rps a replica"
    )


def _result(
    plan: Plan, profile: Profile, verdicts: Mapping[Protocol, Verdict], untuned: Measurement, out: Path
) -> RunResult:
    details = "; ".join(f"{protocol}: {', '.join(verdict.reasons)}" for protocol, verdict in verdicts.items())
    return RunResult(
        verdict=details,
        profile=profile,
        plan=plan,
        measured={protocol: verdict.measurement for protocol, verdict in verdicts.items()},
        verdicts=verdicts,
        untuned=untuned,
        out=out,
    )


def _report(result: RunResult, service: Service, repository: Path) -> RunReport:
    where = (service.source.rpartition(":")[0], "--model-repo", str(repository))
    return assemble(
        service,
        result.profile,
        result.plan,
        measured={_SCHEMES[each]: seen for each, seen in result.measured.items()},
        untuned=result.untuned,
        held=result.held,
        uncertain=result.outcome is Outcome.UNKNOWN,
        verdict=result.verdict,
        attainment={_SCHEMES[each]: verdict.attainment for each, verdict in result.verdicts.items()},
        commands=(
            Command(shlex.join(["kserve-ext", "run", *where, "--out", str(result.out)]), "this run, again"),
            Command(shlex.join(["kserve-ext", "explain", *where]), "the reason for every number"),
        ),
        generated_by=f"kserve-ext {__version__}",
    )
