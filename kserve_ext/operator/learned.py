"""What was learned of a service, as a ConfigMap beside it that people and `kserve-ext status` read, and a restart too. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kserve_ext.domain import StagePlan
from kserve_ext.intent.annotations import PREFIX, REPLAN
from kserve_ext.policy.learning import AS_PROFILED, Correction, Evidence, Executions
from kserve_ext.render.bundle import to_yaml

LABEL = PREFIX + "learned"
_DATA, _EVIDENCE, _BEFORE = "learned.json", "evidence.json", "before.yaml"
_LEAST_COUNT = 0.5  # executions of a batch size, discounted, that are worth being kept


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What a service is planned with beside its profile: the correction, and the batching that its models are served with."""

    correction: Correction = AS_PROFILED
    kept: tuple[StagePlan, ...] = ()


PROFILED = InForce()


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """One service. `before` is its InferenceService before the last re-plan, as it was filled in.

    `evidence` is as it was at `seen_s`, seconds since 1970.
    """

    uid: str
    correction: Correction = AS_PROFILED
    remarks: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()  # that a re-plan would make
    waits_for: str = ""
    in_force: InForce = PROFILED
    applied_s: float | None = None  # since 1970
    before: Mapping[str, Any] = field(default_factory=dict)
    evidence: Evidence = Evidence()  # noqa: RUF009 - frozen
    seen_s: float = 0.0


def name_of(service: str) -> str:
    """The ConfigMap's name."""
    return f"{service}-learned"


def learned_configmap(found: Mapping[str, Any], learned: Learned) -> dict[str, Any]:
    """The ConfigMap, owned by the InferenceService."""
    metadata = found["metadata"]
    owner = {"apiVersion": found["apiVersion"], "kind": found["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    values = {key: value for key, value in asdict(learned).items() if key not in ("before", "evidence", "seen_s")}
    data = {_DATA: json.dumps(values, indent=1) + "\n", _EVIDENCE: json.dumps(_evidence_values(learned)) + "\n"}
    if learned.before:
        data[_BEFORE] = to_yaml(learned.before)
    return {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name_of(metadata["name"]), "namespace": metadata["namespace"], "labels": {LABEL: "true"},
                     "ownerReferences": [owner]},
        "data": data,
    }  # fmt: skip


def read_learned(configmap: Mapping[str, Any]) -> Learned | None:
    """What it holds; None where it cannot be read."""
    import yaml

    try:
        data = configmap["data"]
        values = json.loads(data[_DATA])
        in_force = values["in_force"]
        applied_s = values["applied_s"]
        return Learned(
            uid=str(values["uid"]), correction=_correction(values["correction"]), remarks=tuple(values["remarks"]),
            changes=tuple(values["changes"]), waits_for=str(values["waits_for"]),
            in_force=InForce(correction=_correction(in_force["correction"]),
                             kept=tuple(StagePlan(**stage) for stage in in_force["kept"])),
            applied_s=None if applied_s is None else _number(applied_s),
            before=yaml.safe_load(data.get(_BEFORE, "")) or {},
            **_evidence(data.get(_EVIDENCE, "")),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, yaml.YAMLError):
        return None


def in_force(found: Mapping[str, Any], learned: Learned | None) -> InForce:
    """What this service is planned with: what was learned only where its owner lets it, so taking `auto` away undoes it."""
    metadata = found.get("metadata") or {}
    auto = (metadata.get("annotations") or {}).get(REPLAN) == "auto"
    return learned.in_force if auto and learned is not None and learned.uid == metadata.get("uid") else PROFILED


def dated(learned: Learned, now_s: float) -> Learned:
    """A re-plan in the future was dated by a clock that was wrong: it was now."""
    return replace(learned, applied_s=min(learned.applied_s, now_s)) if learned.applied_s is not None else learned


def _correction(values: Mapping[str, Any]) -> Correction:
    levels = tuple((str(model), _number(level)) for model, level in values["levels"])
    return Correction(hardware=str(values["hardware"]), levels=levels, start_up=_number(values["start_up"]))


def _evidence_values(learned: Learned) -> dict[str, Any]:
    """To six digits; of batch sizes that were all but forgotten nothing."""
    evidence = learned.evidence
    batches = {
        model: [[rows, _rounded(one.count), _rounded(one.seconds)] for rows, one in found.items()
                if one.count >= _LEAST_COUNT]
        for model, found in evidence.batches.items()
    }  # fmt: skip
    numbers = ("seconds", "requests", "late", "requests_lately", "late_lately")
    return {
        "seen_s": learned.seen_s, **{name: _rounded(getattr(evidence, name)) for name in numbers}, "batches": batches,
        "starts_s": [[name, _rounded(took)] for name, took in evidence.starts_s],
    }  # fmt: skip


def _evidence(text: str) -> dict[str, Any]:
    """The evidence and its date; none of it where it cannot be read, for it comes again."""
    try:
        values = json.loads(text)
        batches = {
            str(model): {int(rows): Executions(_number(count), _number(seconds)) for rows, count, seconds in found}
            for model, found in values.pop("batches").items()
        }
        starts_s = tuple((str(name), _number(took)) for name, took in values.pop("starts_s"))
        seen_s = _number(values.pop("seen_s"))
        numbers = {str(name): _number(value) for name, value in values.items()}
        return {"evidence": Evidence(batches=batches, starts_s=starts_s, **numbers), "seen_s": seen_s}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _number(found: Any) -> float:
    """A number as evidence has them. Raises ValueError for what JSON lets through: NaN, infinities, less than none."""
    value = float(found)
    if not 0.0 <= value < math.inf:
        raise ValueError(f"not a number from 0: {found}")
    return value


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
