"""Plans for admission: each distinct question is planned once, in a process of its own, and remembered.

A plan depends on the intent and the model, not on the name, so a fleet of services of one kind is planned once.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from kserve_ext.domain import Intent, Plan, Service
from kserve_ext.errors import InfeasibleError, InputError, KserveExtError
from kserve_ext.operator.learned import PROFILED, InForce
from kserve_ext.operator.models import Model, Models
from kserve_ext.plugins import plan_with
from kserve_ext.policy import PlanRequest
from kserve_ext.policy.learning import corrected

_ANYONE = "some-service"  # stands for the name while planning
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why there is no plan; errors do not travel between processes."""

    message: str
    remedy: str
    binding: str = ""
    bad_input: bool = False


Answer = Plan | Refused


class Planner:
    """Asks for plans, at most one question at a time. With `processes` 0 it plans where it is asked."""

    def __init__(self, processes: int = 1) -> None:
        self._pool = _pool(processes) if processes else None
        self._known: OrderedDict[str, Future[Answer]] = OrderedDict()

    def ask(self, service: Service, models: Models, in_force: InForce = PROFILED) -> Future[Answer]:
        """The answer to come. Raises ProfileError where the model has no profile."""
        intent = service.intent
        model = models.find(intent)
        beside = {each.model: models.find(replace(intent, model=each.model)) for each in intent.neighbours}
        key = f"{_key(intent, (model, *beside.values()))} {in_force!r}"
        found = self._known.get(key)
        if found is None or found.cancelled() or (found.done() and found.exception() is not None):
            neighbours = {name: one.profiles for name, one in beside.items()}
            profiles = {kind: corrected(one, in_force.correction) for kind, one in model.profiles.items()}
            request = PlanRequest(intent=_anyone(intent), profiles=profiles, neighbours=neighbours, kept=in_force.kept)
            found = self._submit(request)
            self._known[key] = found
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return found

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, request: PlanRequest) -> Future[Answer]:
        if self._pool is not None:
            return self._pool.submit(decide, request)
        done: Future[Answer] = Future()
        done.set_result(decide(request))
        return done


def decide(request: PlanRequest) -> Answer:
    """The plan, or why there is none."""
    try:
        return plan_with(request)
    except InfeasibleError as error:
        return Refused(message=error.message, remedy=error.remedy, binding=error.binding)
    except KserveExtError as error:
        return Refused(message=error.message, remedy=error.remedy, bad_input=isinstance(error, InputError))


def named(answer: Answer, intent: Intent) -> Plan:
    """The plan for the service that asked. Raises InfeasibleError or KserveExtError."""
    if isinstance(answer, Plan):
        return replace(answer, service=intent.name, namespace=intent.namespace)
    message = answer.message.replace(_ANYONE, intent.name)
    if answer.binding:
        raise InfeasibleError(message, binding=answer.binding, nearest=answer.remedy)
    raise KserveExtError(message, remedy=answer.remedy)


def _anyone(intent: Intent) -> Intent:
    return replace(intent, name=_ANYONE, namespace="default", profile=None)


def _key(intent: Intent, models: Sequence[Model]) -> str:
    return f"{_anyone(intent)!r} {' '.join(model.digest for model in models)}"


def _pool(processes: int) -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
