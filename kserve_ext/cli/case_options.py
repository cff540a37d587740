"""Options of the commands that simulate a trace, and the cases they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.shared import manifest_folder, one_service, option

if TYPE_CHECKING:
    from kserve_ext.cases import Question
    from kserve_ext.domain import Plan, Profile, Service
    from kserve_ext.profile.service_law import OneAtATime
    from kserve_ext.simulate.scalers import Bounds
    from kserve_ext.traffic import Trace

TraceOption = Annotated[
    Path, typer.Option("--trace", help="CSV with the columns t_s,SERVICE,…: requests that arrived in each step.")
]
ServiceOption = Annotated[
    str | None, typer.Option("--service", help="Column of the trace; each one by itself if left out.")
]
ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--profile", help="Measured profile, or a service time as points, quantiles or a distribution (JSON)."
    ),
]
SloOption = Annotated[str | None, typer.Option("--slo-p99", help="Latency that requests have to keep, e.g. 720ms.")]
ColdStartOption = Annotated[
    str | None, typer.Option("--cold-start", help="From the decision to a ready replica; the profile's if left out.")
]
HistoryOption = Annotated[Path | None, typer.Option("--history", help="CSV of earlier traffic to learn from.")]
LearnOption = Annotated[
    str | None, typer.Option("--learn-until", help="Learn from so much of the trace, simulate the rest, e.g. 96h.")
]
AttainmentOption = Annotated[
    str, typer.Option("--attainment", help="Share of requests that have to be in time, e.g. 99.9%.")
]
MinOption = Annotated[
    int | None, typer.Option("--min-replicas", help="Fewest replicas of every policy; 1 if left out.")
]
MaxOption = Annotated[int | None, typer.Option("--max-replicas", help="Most replicas of every policy.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of arrival and service times.")]
ManifestOption = Annotated[
    str | None, typer.Option("--manifest", help="InferenceService whose SLO and plan are taken; ours runs that plan.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOptions:
    """What the command line says of a case, as text."""

    trace: Path
    service: str | None
    profile: Path | None
    slo_p99: str | None
    cold_start: str | None
    history: Path | None
    learn_until: str | None
    attainment: str
    min_replicas: int | None
    max_replicas: int | None
    seed: int
    manifest: str | None
    repository: Path


def parse_share(text: str) -> float:
    """99% or 0.99 as a share. Raises ValueError for anything else; whether it can be promised is not looked at."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError as error:
        raise ValueError("a percentage such as 99.9%, or a share such as 0.999") from error
    return value / 100 if text.strip().endswith("%") else value


def read_questions(options: CaseOptions) -> tuple[Question, ...]:
    """One question for each service asked for. Raises InputError with what is wrong and where."""
    from kserve_ext.cases import Question, split
    from kserve_ext.units import parse_duration_s

    if options.history and options.learn_until:
        raise _usage("--history, --learn-until", "both given", "one of them")
    traces = _traces(options.trace, options.service)
    attainment = option("--attainment", options.attainment, parse_share)
    source = _source(options)
    questions = []
    for trace in traces:
        history = _history(options.history, trace.service) if options.history else None
        if options.learn_until:
            until_s = option("--learn-until", options.learn_until, parse_duration_s)
            history, trace = split(trace, until_s, "--learn-until")
        questions.append(Question(
            trace=trace, law=source.law, slo_s=source.slo_s, cold_start_s=source.cold_start_s, attainment=attainment,
            history=history, bounds=source.bounds, seed=options.seed, decided=source.plan,
        ))  # fmt: skip
    return tuple(questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    law: OneAtATime | Profile
    slo_s: float
    cold_start_s: float
    bounds: Bounds
    plan: Plan | None = None


def _source(options: CaseOptions) -> _Source:
    """What serves: the service-time law or profile, and the plan of a manifest where one is given."""
    from kserve_ext.files import read_text
    from kserve_ext.profile import service_law
    from kserve_ext.simulate.scalers import Bounds
    from kserve_ext.units import parse_duration_s

    law = service_law.read(read_text(options.profile), str(options.profile)) if options.profile else None
    slo_s = option("--slo-p99", options.slo_p99, parse_duration_s) if options.slo_p99 else None
    least, most = options.min_replicas, options.max_replicas
    decided: Plan | None = None
    if options.manifest is not None:
        service = _with_slo(one_service(options.manifest), slo_s)
        decided, law = _planned(service, law, options.repository)
        slo_s = service.intent.slo.p99_s
        least = decided.scaling.min_replicas if least is None else least
        most = decided.scaling.max_replicas if most is None else most
    if law is None or slo_s is None:
        missing = [name for name, value in (("--profile", law), ("--slo-p99", slo_s)) if value is None]
        raise _usage(", ".join(missing), "missing", "--profile and --slo-p99, or --manifest")
    bounds = Bounds(min_replicas=1 if least is None else least, max_replicas=most)
    return _Source(law=law, slo_s=slo_s, cold_start_s=_cold_start_s(options, law), bounds=bounds, plan=decided)


def _with_slo(service: Service, slo_s: float | None) -> Service:
    from dataclasses import replace

    intent = service.intent
    return replace(service, intent=replace(intent, slo=replace(intent.slo, p99_s=slo_s))) if slo_s else service


def _planned(service: Service, law: OneAtATime | Profile | None, repository: Path) -> tuple[Plan, Profile]:
    """The manifest's plan, with the profile given, or else with the model's own."""
    from dataclasses import replace

    from kserve_ext.library import check_alone, profiles_for
    from kserve_ext.plugins import plan_with
    from kserve_ext.policy import PlanRequest
    from kserve_ext.profile.service_law import OneAtATime, as_profile

    intent = service.intent
    check_alone(service, "simulate")
    if law is None:
        profiles = profiles_for(repository, intent, beside=manifest_folder(service))
    else:
        profile = as_profile(law) if isinstance(law, OneAtATime) else law
        kind = profile.hardware if profile.hardware in intent.hardware else intent.hardware[0]
        profiles = {kind: replace(profile, hardware=kind)}
    decided = plan_with(PlanRequest(intent=intent, profiles=profiles))
    return decided, profiles[decided.hardware]


def _cold_start_s(options: CaseOptions, law: OneAtATime | Profile) -> float:
    from kserve_ext.policy import Settings
    from kserve_ext.units import parse_duration_s

    if options.cold_start:
        return option("--cold-start", options.cold_start, parse_duration_s)
    if not law.load_s:
        raise _usage("--cold-start", "missing, and the profile does not say how long the model loads", "e.g. 35s")
    return Settings().pod_start_s + law.load_s


def _traces(path: Path, service: str | None) -> tuple[Trace, ...]:
    from kserve_ext.files import read_text
    from kserve_ext.traffic import read_trace, read_traces

    text = read_text(path)
    return read_traces(text, str(path)) if service is None else (read_trace(text, str(path), service),)


def _history(path: Path, service: str) -> Trace:
    """The same column of an earlier file, or its only one."""
    from kserve_ext.files import read_text
    from kserve_ext.traffic import read_trace, read_traces

    text = read_text(path)
    known = read_traces(text, str(path))
    return known[0] if len(known) == 1 else read_trace(text, str(path), service)


def _usage(field: str, what: str, allowed: str) -> Exception:
    from kserve_ext.errors import InputError, Problem

    return InputError(Problem(field=field, what=what, allowed=allowed))
