"""Executions by batch size straight from the pods: the statistics of Triton, or of a custom predictor, between two looks.

A counter that fell was restarted and counts from 0. A pod seen for the first time is remembered and tells nothing yet.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kserve_ext.errors import TritonError
from kserve_ext.observe.readings import Key
from kserve_ext.observe.scrape import Fetch, pooled
from kserve_ext.policy.learning import Executions
from kserve_ext.triton.answers import ModelStatistics, read_statistics

log = logging.getLogger(__name__)

_PORT = 8080
_MOST_PODS = 4  # of a service: they run one model on one kind of hardware
_AT_ONCE = 8
Found = Mapping[str, Mapping[int, Executions]]  # by model and rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Whose executions are asked for: models of a service, pods as (name, address)."""

    models: tuple[str, ...]
    pods: tuple[tuple[str, str], ...]


class ExecutionReader:
    """Reads pods, and remembers the last counters of each. `fetch` gives the text at a URL, or None."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch: Callable[[str], str | None] = fetch or pooled()
        self._known: dict[tuple[Key, str, str], ModelStatistics] = {}
        self._readers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="executions")

    def sample(self, asked: Mapping[Key, Ran]) -> Mapping[Key, Found]:
        """What ran since the last look at each service, for those of which something is known."""
        places = [
            (key, pod, address, model)
            for key, one in asked.items() for pod, address in one.pods[:_MOST_PODS] for model in one.models
        ]  # fmt: skip
        answers = self._readers.map(lambda place: self._read(place[2], place[3]), places)
        found: dict[Key, dict[str, dict[int, Executions]]] = {}
        for (key, pod, _, model), now in zip(places, answers, strict=True):
            if now is None:
                continue
            before = self._known.get((key, pod, model))
            self._known[key, pod, model] = now
            if before is not None:
                _add(found.setdefault(key, {}).setdefault(model, {}), _since(before, now))
        self._forget(asked)
        return found

    def forget(self, keys: Iterable[Key]) -> None:
        """Services that are gone."""
        gone = set(keys)
        for place in [place for place in self._known if place[0] in gone]:
            del self._known[place]

    def _forget(self, asked: Mapping[Key, Ran]) -> None:
        """Pods that are gone, of the services that were asked for."""
        alive = {(key, pod) for key, one in asked.items() for pod, _ in one.pods}
        for place in [place for place in self._known if place[0] in asked and place[:2] not in alive]:
            del self._known[place]

    def _read(self, address: str, model: str) -> ModelStatistics | None:
        text = self._fetch(f"http://{address}:{_PORT}/v2/models/{model}/stats")
        try:
            return None if text is None else read_statistics(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            log.debug("statistics of %s at %s: %s", model, address, error)
            return None


def _since(before: ModelStatistics, now: ModelStatistics) -> ModelStatistics:
    try:
        return now - before
    except TritonError:  # loaded again
        return now


def _add(sums: dict[int, Executions], more: ModelStatistics) -> None:
    for rows, one in more.batches.items():
        seconds = one.compute_input_s + one.compute_infer_s + one.compute_output_s
        sums[rows] = sums.get(rows, Executions(0.0, 0.0)) + Executions(float(one.executions), seconds)
