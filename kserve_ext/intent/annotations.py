"""The table of `kserve-ext.dev/` annotations: one row drives parsing, the editors' schema and the documentation.

Text in, values for domain.Intent out. Parsers raise ValueError that says what is allowed; callers add the place.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kserve_ext.domain import Neighbour, Protocol, RateRange, Scaler
from kserve_ext.units import DURATION_ALLOWED, RATE_ALLOWED, parse_duration_s, parse_rate_rps

DOMAIN = "kserve-ext.dev"
PREFIX = DOMAIN + "/"
LINT_IGNORE = PREFIX + "lint-ignore"  # "KX101 reason": for the linter, says nothing of the service
PLANNED = (
    PREFIX + "planned"
)  # which fields admission filled in, so that a new intent is planned anew; written by admission
INFEASIBLE = PREFIX + "infeasible"
FLOOR = PREFIX + "floor"
REPLAN = PREFIX + "replan"
# Annotations for the operator: they say what is done with a plan, not what is planned. What each may be, the default first.
OPERATOR_CHOICES: dict[str, tuple[str, ...]] = {
    INFEASIBLE: ("refuse", "admit"), FLOOR: ("on", "off"), REPLAN: ("propose", "auto"),
}  # fmt: skip
NOT_INTENT = (LINT_IGNORE, PLANNED, *OPERATOR_CHOICES)

_NUMBER = r"[0-9]+(\.[0-9]+)?"
_DURATION_PATTERN = rf"^({_NUMBER}(us|µs|ms|s|m|h))+$"
_RATE_PATTERN = rf"^{_NUMBER}\s*(rps|rpm)?(\s*\.\.\s*{_NUMBER}\s*(rps|rpm)?)?$"
_AVAILABILITY_PATTERN = rf"^({_NUMBER}%|0?\.[0-9]+)$"
_COUNT_PATTERN = r"^[1-9][0-9]{0,8}$"  # 9 digits stay within Kubernetes' int32
_KIND = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)?"
_KINDS_PATTERN = rf"^\s*{_KIND}(\s*,\s*{_KIND})*\s*$"
_MODEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_NEIGHBOUR = rf"[A-Za-z0-9][A-Za-z0-9._-]*\s+{_DURATION_PATTERN[1:-1]}\s+{_RATE_PATTERN[1:-1]}"
_NEIGHBOURS_PATTERN = rf"^\s*{_NEIGHBOUR}(\s*;\s*{_NEIGHBOUR})*\s*$"
_PATH_PATTERN = r"^[^\s\x00-\x1f]([^\x00-\x1f]*[^\s\x00-\x1f])?$"
_URL_PATTERN = r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$"
_SCALERS = tuple(scaler.value for scaler in Scaler)
_POLICY_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$|^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One row: the key after the prefix, where its value goes, how its text is read, what a person is told."""

    key: str
    field: str  # of domain.Intent that takes the value
    doc: str
    allowed: str
    pattern: str  # for editors; every text that `parse` takes matches it
    parse: Callable[[str], Any]
    examples: tuple[str, ...]
    required: bool = False
    default: str = ""

    @property
    def name(self) -> str:
        """The key as it is written in a manifest."""
        return PREFIX + self.key


def parse_annotation(name: str, text: str) -> Any:
    """The value of annotation `name`, a key of the table. Raises ValueError."""
    row = BY_NAME[name]
    if not re.fullmatch(row.pattern, text):
        raise ValueError(row.allowed)
    return row.parse(text)


def nearest_name(name: str) -> str:
    """The key of the table that looks most like `name`."""
    return max(BY_NAME, key=lambda known: difflib.SequenceMatcher(None, name, known).ratio())


def annotations_markdown() -> str:
    """The table as Markdown, for the README."""
    head = "| annotation | meaning | allowed | default |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{row.name}` | {row.doc} | {row.allowed} | {'required' if row.required else row.default} |\n"
        for row in ANNOTATIONS
    )


def _duration_s(text: str) -> float:
    return _positive(parse_duration_s(text))


def _rate(text: str) -> RateRange:
    low_rps, high_rps = parse_rate_rps(text)
    return RateRange(low_rps=_positive(low_rps), high_rps=_positive(high_rps))


def _availability(text: str) -> float:
    share = float(Decimal(text.rstrip("%")) / (100 if text.endswith("%") else 1))  # 99.9% is 0.999 to the last bit
    if not 0 < share < 1:
        raise ValueError("between 0 % and 100 %, both excluded: nothing can promise every request")
    return share


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(kind.strip() for kind in text.split(","))
    if len(set(kinds)) < len(kinds):
        raise ValueError("each kind once, in order of preference")
    return kinds


def _neighbours(text: str) -> tuple[Neighbour, ...]:
    found = []
    for each in text.split(";"):
        model, p99, rate = each.split(maxsplit=2)
        found.append(Neighbour(model=model, p99_s=_duration_s(p99), rate=_rate(rate.strip())))
    if len({each.model for each in found}) < len(found):
        raise ValueError("each model once")
    return tuple(found)


def _positive(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError("a number above zero that fits a 64-bit float")
    return value


ANNOTATIONS = (
    Annotation(
        key="slo-p99",
        field="slo.p99_s",
        required=True,
        parse=_duration_s,
        pattern=_DURATION_PATTERN,
        allowed=DURATION_ALLOWED,
        doc="99 % of requests are answered within this time.",
        examples=("80ms", "1.5s"),
    ),
    Annotation(
        key="rate",
        field="rate",
        required=True,
        parse=_rate,
        pattern=_RATE_PATTERN,
        allowed=RATE_ALLOWED,
        doc="Requests per second to hold: one rate, or the quiet and the busy one.",
        examples=("40rps", "20..400rps"),
    ),
    Annotation(
        key="slo-availability",
        field="slo.availability",
        parse=_availability,
        pattern=_AVAILABILITY_PATTERN,
        default="99.9%",
        allowed="a percentage such as 99.9%, or a fraction such as 0.999; below 100 %",
        doc="The share of requests that are answered at all.",
        examples=("99.9%", "0.999"),
    ),
    Annotation(
        key="protocol",
        field="protocol",
        parse=Protocol,
        pattern="^(rest|grpc)$",
        allowed="rest, grpc",
        default="rest",
        doc="How requests arrive: Open Inference Protocol V2 over HTTP or over gRPC.",
        examples=("rest", "grpc"),
    ),
    Annotation(
        key="hardware",
        field="hardware",
        parse=_kinds,
        pattern=_KINDS_PATTERN,
        default="cpu",
        allowed="kinds in lower case, separated by commas: cpu, gpu, nvidia.com/gpu, mig-1g.10gb, a100-1g.10gb",
        doc="Kinds of hardware that may be used, in order of preference.",
        examples=("cpu", "a100-1g.10gb, cpu"),
    ),
    Annotation(
        key="max-replicas",
        field="max_replicas",
        parse=int,
        pattern=_COUNT_PATTERN,
        allowed="a whole number from 1 up",
        doc="The plan never asks for more replicas than this.",
        examples=("10",),
        default="no limit",
    ),
    Annotation(
        key="cold-start-budget",
        field="cold_start_budget_s",
        parse=_duration_s,
        pattern=_DURATION_PATTERN,
        allowed=DURATION_ALLOWED,
        doc="The longest a request may wait for a replica to start; allows scale to zero where a start is shorter.",
        examples=("30s",),
        default="none: always one replica",
    ),
    Annotation(
        key="model",
        field="model",
        parse=str,
        pattern=_MODEL_PATTERN,
        allowed="a folder of the model repository: letters, digits, . _ -",
        doc="The model's folder in the model repository.",
        examples=("digits",),
        default="last part of storageUri, else the service's name",
    ),
    Annotation(
        key="neighbours",
        field="neighbours",
        parse=_neighbours,
        pattern=_NEIGHBOURS_PATTERN,
        allowed="MODEL P99 RATE for each, separated by semicolons: embed 120ms 5..60rps; ocr 300ms 2rps",
        doc="Further models in the same replicas; storageUri then names the folder that holds all of them.",
        examples=("embed 120ms 5..60rps", "embed 120ms 5..60rps; ocr 300ms 2rps"),
        default="none: one model",
    ),
    Annotation(
        key="scaler",
        field="scaler",
        parse=Scaler,
        pattern=f"^({'|'.join(_SCALERS)})$",
        allowed=", ".join(_SCALERS),
        default="kpa in Knative mode, fixed in Standard mode",
        doc="Who sets the replicas, and by what it goes.",
        examples=("kpa", "keda-rps"),
    ),
    Annotation(
        key="prometheus",
        field="prometheus",
        parse=str,
        pattern=_URL_PATTERN,
        allowed="an http or https URL such as http://prometheus.monitoring:9090",
        default="none: required for keda-rps, keda-queue and keda-gpu",
        doc="The Prometheus that KEDA asks.",
        examples=("http://prometheus.monitoring:9090",),
    ),
    Annotation(
        key="node-start",
        field="node_start_s",
        parse=_duration_s,
        pattern=_DURATION_PATTERN,
        allowed=DURATION_ALLOWED,
        default="none: no placeholders",
        doc="How long a new node takes to come; placeholder pods keep room for the replicas that would wait for one.",
        examples=("4m",),
    ),
    Annotation(
        key="vertical",
        field="vertical",
        parse={"off": False, "recommend": True}.__getitem__,
        pattern="^(off|recommend)$",
        allowed="off, recommend",
        default="off",
        doc="A VerticalPodAutoscaler that recommends CPU and memory and changes nothing; `status` shows it beside the plan.",
        examples=("recommend",),
    ),
    Annotation(
        key="profile",
        field="profile",
        parse=str,
        pattern=_PATH_PATTERN,
        allowed="a path to a profile, e.g. profiles/digits.json",
        doc="A profile to plan with instead of the model's own.",
        examples=("profiles/digits-h100.json",),
        default="model_repo/MODEL/profiles/HARDWARE.json",
    ),
    Annotation(
        key="policy",
        field="policy",
        parse=str,
        pattern=_POLICY_PATTERN,
        default="default",
        allowed="default, the name of an installed policy, or module:function",
        doc="Who decides: the built-in policy or one of yours.",
        examples=("default", "my_policies:cheap"),
    ),
)

BY_NAME = {row.name: row for row in ANNOTATIONS}
