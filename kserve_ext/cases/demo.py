"""The bundled day of traffic and service time, as a case: what `kserve-ext demo` runs, without a server or a cluster."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

from kserve_ext.cases.build import Case, Question, build_case, split
from kserve_ext.policy.request import Settings
from kserve_ext.profile import service_law
from kserve_ext.traffic import read_trace

POLICIES = ("ours", "kpa-default", "kpa-cc1")  # the plan, Knative as installed, and with one request at a time
SOURCE = "a bundled day of traffic (Azure Functions 2019)"
SLO_S = 1.8
_DAY_S = 86_400
_FLOOR_INTERVAL_S = 60  # a sixth of the decisions that the operator takes: the trace itself is by the minute


def demo_case() -> Case:
    """One day at 4 requests a second on average; the day before is what there is to learn from."""
    history, day = split(read_trace(_text("two_days.csv"), "two_days.csv"), _DAY_S, "demo")
    law = service_law.read(_text("profile.json"), "profile.json")
    asked = Question(
        trace=day, history=history, law=law, slo_s=SLO_S, cold_start_s=Settings().pod_start_s + law.load_s
    )  # fmt: skip
    return replace(build_case(asked), floor_interval_s=_FLOOR_INTERVAL_S)


def _text(name: str) -> str:
    return (files("kserve_ext") / "data" / "demo" / name).read_text(encoding="utf-8")
