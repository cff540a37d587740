"""The two webhooks: what is asked of the planner and the linter, with a deadline, and always an answer.

Whatever goes wrong here, the service is admitted as it was written and planned later; only its author's own mistakes,
and an SLO that nothing holds, are refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from kserve_ext.errors import KserveExtError
from kserve_ext.lint.check import Sources, check
from kserve_ext.lint.facts import ClusterFacts
from kserve_ext.lint.finding import Severity
from kserve_ext.operator.filled import Object, bare
from kserve_ext.operator.learned import PROFILED, InForce
from kserve_ext.operator.models import Models
from kserve_ext.operator.planner import Answer, Planner, named
from kserve_ext.operator.review import (
    Review,
    answer,
    answer_planned,
    answer_unplanned,
    asked,
    read_review,
    refusal,
)
from kserve_ext.operator.words import finding_line, findings_lines

log = logging.getLogger(__name__)

DEADLINE_S = (
    4.0  # below the webhook's time-out of 8 s: late is answered here, with a warning, and not by the API server
)


class Admission:
    """Answers reviews. `models`, `facts` and `in_force` say what is known now; what `own` writes, the operator's account, is
    planned already.
    """

    def __init__(
        self, planner: Planner, models: Callable[[], Models], facts: Callable[[], ClusterFacts | None],
        deadline_s: float = DEADLINE_S, *, in_force: Callable[[Object], InForce] = lambda found: PROFILED, own: str = "-",
    ) -> None:  # fmt: skip
        self._planner, self._models, self._facts, self._deadline_s = planner, models, facts, deadline_s
        self._in_force, self._own = in_force, own

    async def mutate(self, body: Any) -> dict[str, Any]:
        """The answer of the mutating webhook."""
        return await self._safe(body, self._mutate)

    async def validate(self, body: Any) -> dict[str, Any]:
        """The answer of the validating webhook."""
        return await self._safe(body, self._validate)

    async def _safe(self, body: Any, work: Any) -> dict[str, Any]:
        review = read_review(body)
        if not review.concerns_us or review.author == self._own:
            return answer(review)
        try:
            found: dict[str, Any] = await work(review)
        except Exception as error:  # the top of a request: a fault of ours must not stop a deployment
            log.exception("review of %s failed", review.where)
            found = answer(review, warnings=[f"kserve-ext: admitted as written: {type(error).__name__}: {error}"])
        return found

    async def _mutate(self, review: Review) -> dict[str, Any]:
        try:
            wanted = asked(review)
            future = self._planner.ask(wanted.service, self._models(), self._in_force(review.found))
            plan = named(await self._within(future), wanted.service.intent)
            return answer_planned(review, wanted, plan)
        except TimeoutError:
            late = f"kserve-ext: admitted as written: planning takes longer than {self._deadline_s:g} s; it goes on, and the "
            return answer(review, warnings=[late + "service is planned when it is done"])
        except KserveExtError as error:
            return answer_unplanned(review, error)

    async def _within(self, future: Future[Answer]) -> Answer:
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), self._deadline_s)

    async def _validate(self, review: Review) -> dict[str, Any]:
        sources = Sources(manifests={review.where: json.dumps(bare(review.found), indent=0)})
        outcome = check(sources, facts=self._facts())
        wrong = [found for found in outcome.findings if found.severity is Severity.ERROR]
        if wrong:
            lines = ["kserve-ext lint: accepted without effect, or refused later:", *map(finding_line, wrong)]
            remedy = "the annotation kserve-ext.dev/lint-ignore takes a rule and the reason, where it is meant"
            return refusal(review, [*lines, remedy])
        told = [found for found in outcome.findings if found.severity is Severity.WARNING]
        return answer(review, warnings=findings_lines(told))
