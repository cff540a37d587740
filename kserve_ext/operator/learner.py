"""Learning beside the loop: each service is looked at once a minute, told about, and planned anew where that is allowed.

What is concluded is in `policy.learning`; here pods are read, plans are asked for, and what was learned is written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.difference import compare
from kserve_ext.cluster.objects import Ref, dig
from kserve_ext.domain import Plan, Reason
from kserve_ext.errors import KserveExtError
from kserve_ext.intent.annotations import REPLAN
from kserve_ext.observe import ExecutionReader, Ran
from kserve_ext.observe.readings import Key
from kserve_ext.operator.filled import as_written, bare
from kserve_ext.operator.floors import Target
from kserve_ext.operator.learned import PROFILED, InForce, Learned, dated, in_force, learned_configmap
from kserve_ext.operator.loop import Loop, Say
from kserve_ext.operator.models import Models
from kserve_ext.operator.planner import Planner, named
from kserve_ext.operator.review import Asked, planned, service_of
from kserve_ext.operator.scaled import Scaled
from kserve_ext.operator.services import Operated, merge_patch
from kserve_ext.policy.learning import Circumstances, Evidence, Look, Verdict, aged, correct, decide, remarks, seen
from kserve_ext.render.inferenceservice import render_inferenceservice
from kserve_ext.render.predictor_runtime import is_custom

EVERY_S = 60.0
_WRITTEN_EVERY_S = 600.0  # where nothing but numbers has changed
_INCIDENT_LATE = 0.10  # of the last minutes' requests
_BUSIEST_OF_MIN = 60
_SERVICE = ("serving.kserve.io/v1beta1", "InferenceService")


class Planned(Protocol):
    """What watches know, beside what the loop needs."""

    def planned(self) -> Mapping[Key, Operated]: ...
    def service(self, key: Key) -> Mapping[str, Any] | None: ...
    def learned(self, key: Key) -> Learned | None: ...
    def models(self) -> Models: ...
    def pods_by_service(self) -> Mapping[Key, tuple[tuple[str, str], ...]]: ...
    def starts_by_service(self) -> Mapping[Key, Mapping[str, float]]: ...


@dataclass
class _Known:
    """Of one service, between looks."""

    looked_s: float
    evidence: Evidence = Evidence()  # noqa: RUF009 - frozen
    requests: float = 0.0
    late: float | None = None
    learned: Learned | None = None
    found: tuple[Reason, ...] = ()
    written_s: float = float("-inf")
    told: tuple[str, ...] = ()


@dataclass
class Learner:
    """What it works with, and what it remembers of each service."""

    cluster: Cluster
    objects: Planned
    loop: Loop
    planner: Planner
    reader: ExecutionReader
    say: Say
    known: dict[Key, _Known] = field(default_factory=dict)
    replans: int = 0

    def round(self, now_s: float) -> None:
        """Count what the loop saw, and look at the services whose minute is over. Raises KserveExtError as the loop does."""
        services = self.objects.planned()
        self._forget(services)
        due = [key for key in services if self._count(key, now_s)]
        starts, pods = self.objects.starts_by_service(), self.objects.pods_by_service()
        ran = self.reader.sample({key: Ran(models=_models(services[key].plan), pods=pods.get(key, ())) for key in due})
        for key in due:
            one = self.known[key]
            look = Look(
                seconds=now_s - one.looked_s, requests=one.requests, late=one.late, batches=ran.get(key, {}),
                starts_s=starts.get(key, {}),
            )  # fmt: skip
            one.evidence, one.looked_s, one.requests, one.late = seen(one.evidence, look), now_s, 0.0, None
            self._conclude(key, services[key], one, now_s)

    def levels(self) -> Iterator[tuple[Key, str, float]]:
        """How many times as long as profiled each model of each service takes, where that is known and differs."""
        for key, one in self.known.items():
            for model, level in one.learned.correction.levels if one.learned else ():
                yield key, model, level

    @property
    def proposed(self) -> int:
        """Services for which a re-plan waits."""
        return sum(bool(one.learned and one.learned.changes) for one in self.known.values())

    def _count(self, key: Key, now_s: float) -> bool:
        """Add what the loop counted; whether it is time for a look. First looks are spread over the minute."""
        if key not in self.known:
            self.known[key] = self._remembered(key, now_s)
        one, counted = self.known[key], self.loop.counted.get(key)
        if counted is not None and counted.late is not None:
            one.requests, one.late = one.requests + counted.requests, (one.late or 0.0) + counted.late
        return now_s - one.looked_s >= EVERY_S

    def _remembered(self, key: Key, now_s: float) -> _Known:
        """A service that is seen for the first time, with the evidence that an operator before this one wrote down."""
        found, kept = self.objects.service(key), self.objects.learned(key)
        known = _Known(looked_s=now_s - EVERY_S * (hash(key) % 1000) / 1000)
        if found is not None and kept is not None and kept.uid == found["metadata"].get("uid"):
            known.evidence = aged(kept.evidence, max(0.0, now_s - kept.seen_s))
        return known

    def _forget(self, services: Mapping[Key, Operated]) -> None:
        gone = [key for key in self.known if key not in services]
        self.reader.forget(gone)
        for key in gone:
            del self.known[key]

    # -------------------------------------------------------------------------------------------------- conclusions

    def _conclude(self, key: Key, service: Operated, one: _Known, now_s: float) -> None:
        found = self.objects.service(key)
        if found is None:
            return
        manifest = as_written(found)
        wanted = Asked(service=service_of(manifest, "/".join(key)), manifest=manifest)
        known = dated(self._learned(key, found, one), now_s)
        correction = correct(known.correction, service.measured, service.plan.stages, one.evidence)
        one.found = remarks(
            service.plan,
            service.measured,
            wanted.service.intent.rate,
            one.evidence,
            _busiest_rps(self.loop.services.get(key)),
        )
        now = in_force(found, known)
        if known.in_force != now and not self._undone(key, found, wanted):
            return
        next_ = InForce(correction=correction, kept=() if is_custom(manifest) else service.plan.stages)
        plan = self._plan(wanted, now if correction == now.correction else next_)
        if plan is None:  # it is being planned
            return
        if isinstance(plan, KserveExtError):
            one.found += (Reason(field="slo.p99_s", code="out-of-reach", text=f"so no plan holds: {plan.message}"),)
            plan = service.plan
        changes = _changes(wanted, service.plan, plan)
        auto = found["metadata"]["annotations"].get(REPLAN) == "auto"
        step = decide(changes, Circumstances(now_s=now_s, auto=auto, applied_s=known.applied_s,
                                             incident=self._incident(key, found, service, one.evidence)))  # fmt: skip
        known = replace(known, correction=correction, remarks=tuple(each.text for each in one.found), changes=changes,
                        waits_for=step.waits_for, in_force=now, evidence=one.evidence, seen_s=now_s)  # fmt: skip
        if step.verdict is Verdict.APPLY:
            self._fill(key, found, planned(found, wanted, plan))
            known = replace(known, in_force=next_, applied_s=now_s, changes=(), before=bare(found))
            self.replans += 1
            self.say(found, "Replanned", f"{'; '.join(changes)}. Take kserve-ext.dev/replan away to undo it")
        self._keep(key, found, one, known, now_s)

    def _learned(self, key: Key, found: Mapping[str, Any], one: _Known) -> Learned:
        """What was learned so far of this very object; the watch's word counts after a restart only."""
        uid = str(found["metadata"].get("uid", ""))
        known = one.learned or self.objects.learned(key)
        return known if known is not None and known.uid == uid else Learned(uid=uid)

    def _plan(self, wanted: Asked, chosen: InForce) -> Plan | KserveExtError | None:
        """The plan, or why there is none; None while it is being made."""
        try:
            future = self.planner.ask(wanted.service, self.objects.models(), chosen)
            return named(future.result(), wanted.service.intent) if future.done() else None
        except KserveExtError as error:
            return error

    def _undone(self, key: Key, found: Mapping[str, Any], wanted: Asked) -> bool:
        """Plan as without what was learned, where admission did not when `auto` was taken away; False: not yet."""
        plan = self._plan(wanted, PROFILED)
        if isinstance(plan, Plan) and self._fill(key, found, planned(found, wanted, plan)):
            self.say(found, "ReplanUndone", "planned with the profile as it was measured again")
        return plan is not None

    def _incident(self, key: Key, found: Mapping[str, Any], service: Operated, evidence: Evidence) -> str:
        """What forbids a new Revision now, in words; empty: nothing."""
        if self.loop.blind_since_s is not None:
            return "no requests are counted"
        if evidence.late_share_lately > _INCIDENT_LATE:
            return f"{evidence.late_share_lately:.0%} of the last minutes' requests were late"
        if not service.knative:
            return ""
        target = self.loop.target(key)
        if not isinstance(target, Target):
            return target
        status = dig(found, "status", "components", "predictor") or {}
        if status.get("latestCreatedRevision", target.revision) != target.revision:
            return f"{status['latestCreatedRevision']} is being rolled out"
        if target.unschedulable:
            return f"pods of {target.revision} cannot be placed"
        return "replicas are starting" if target.ready < target.desired else ""

    def _fill(self, key: Key, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Make the service what is wanted; whether it was not."""
        patch = merge_patch(found, wanted)
        if patch:
            patch["metadata"] = {**patch.get("metadata", {}), "resourceVersion": found["metadata"]["resourceVersion"]}
            self.cluster.merge(Ref(api_version=_SERVICE[0], kind=_SERVICE[1], namespace=key[0], name=key[1]), patch)
        return bool(patch)

    def _keep(self, key: Key, found: Mapping[str, Any], one: _Known, learned: Learned, now_s: float) -> None:
        """Say and write down what is new; numbers that only moved a little, now and then."""
        told = (*(f"{each.field} {each.code}" for each in one.found), *learned.changes, learned.waits_for)
        fresh = told != one.told or one.learned is None or _lasting(one.learned) != _lasting(learned)
        if fresh and learned.remarks:
            self.say(found, "NotAsProfiled", "; ".join(learned.remarks))
        if fresh and learned.changes:
            self.say(found, "ReplanProposed", f"{'; '.join(learned.changes)}. It waits for {learned.waits_for}")
        anything = learned.remarks or learned.correction != PROFILED.correction or learned.applied_s is not None
        if (fresh or now_s - one.written_s >= _WRITTEN_EVERY_S) and (anything or self.objects.learned(key)):
            self.cluster.apply(learned_configmap(found, learned), force=True)
            one.written_s = now_s
        one.learned, one.told = learned, told


def _lasting(learned: Learned) -> Learned:
    """Without what moves from look to look."""
    return replace(learned, remarks=(), evidence=Evidence(), seen_s=0.0)


def _changes(wanted: Asked, before: Plan, after: Plan) -> tuple[str, ...]:
    """What another plan changes in the InferenceService, field by field."""
    now, then = (render_inferenceservice(wanted.service, plan) for plan in (before, after))
    ref = Ref(api_version=_SERVICE[0], kind=_SERVICE[1], namespace=before.namespace, name=before.service)
    return tuple(str(each) for each in compare(ref, now, then).changes)


def _models(plan: Plan) -> tuple[str, ...]:
    return tuple(stage.model for stage in plan.stages)


def _busiest_rps(service: Scaled | None) -> float:
    """Requests a second in the busiest minute of the last hour, less what may be chance."""
    if service is None or service.state is None:
        return 0.0
    counts = service.state.forecasts.history.last(_BUSIEST_OF_MIN)
    return float(np.max(counts - 2 * np.sqrt(counts), initial=0.0)) / service.settings.bin_s
