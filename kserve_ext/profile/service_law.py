"""A service time written by hand, for the simulator: one JSON object under `service_time`, seconds throughout.

One request at a time, as a named distribution (scipy's names), as quantiles, or as one number:

    {"service_time": {"distribution": "lognormal", "loc": 0.08, "scale": 0.07, "shape": 0.42}}
    {"service_time": {"quantiles_s": {"probabilities": [0.5, 0.99], "values": [0.15, 0.29]}}}
    {"service_time": {"mean_s": 0.15}}

Batched, as points: the time of one execution of `batch` rows while `instances` (1 if left out) are busy:

    {"service_time": [{"batch": 1, "mean_s": 0.005},
                      {"batch": 8, "mean_s": 0.012, "quantiles_s": {"probabilities": [0.5, 0.99], "values": [0.011, 0.02]}},
                      {"batch": 16, "distribution": "lognormal", "loc": 0.015, "scale": 0.005, "shape": 0.3}],
     "overhead_s": 0.0005, "load_s": 12.0}

A profile measured by `kserve-ext profile` is read as it is. Text in, a law or a profile out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from kserve_ext.domain import Profile, Quantiles, ServicePoint, StageProfile
from kserve_ext.errors import Problem, ProfileError
from kserve_ext.profile import store
from kserve_ext.profile.check import faults

_ALLOWED = "an object with `service_time`, or a profile measured with `kserve-ext profile`"
_STRICT = ConfigDict(extra="forbid", strict=True)
_LEVELS = tuple((level + 0.5) / 200 for level in range(200))  # as finely as the simulator draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """loc + scale x exp(shape x N(0, 1)), in seconds."""

    __pydantic_config__ = _STRICT
    distribution: Literal["lognormal"]
    scale: float
    shape: float
    loc: float = 0.0

    @property
    def mean_s(self) -> float:
        return self.loc + self.scale * math.exp(self.shape**2 / 2)

    @property
    def quantiles_s(self) -> Quantiles:
        normal = NormalDist()
        values = tuple(self.loc + self.scale * math.exp(self.shape * normal.inv_cdf(p)) for p in _LEVELS)
        return Quantiles(probabilities=_LEVELS, values=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A mean, quantiles, or both: the quantiles then give the shape and the mean its place."""

    __pydantic_config__ = _STRICT
    mean_s: float | None = None
    quantiles_s: Quantiles | None = None


Time = Lognormal | Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class OneAtATime:
    """The service time of replicas that serve one request at a time."""

    time: Time
    load_s: float = 0.0  # to bring a replica up, where the file says so


def read(text: str, file: str) -> OneAtATime | Profile:
    """The law or the profile in `text`. Raises ProfileError naming the file and the path of every wrong field."""
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProfileError(Problem(file=file, line=error.lineno, what=f"not JSON: {error.msg}")) from error
    if not isinstance(record, dict):
        raise ProfileError(Problem(file=file, what="not a profile", found=type(record).__name__, allowed=_ALLOWED))
    if "service_time" not in record:
        if "schema_version" in record or "stages" in record:
            return store.load(text, file)
        raise ProfileError(Problem(file=file, field="service_time", what="missing", allowed=_ALLOWED))
    return _law(record, file)


def _law(record: dict[str, Any], file: str) -> OneAtATime | Profile:
    known = {"service_time", "overhead_s", "load_s"}
    problems = [Problem(file=file, field=key, what="unknown field", allowed=", ".join(sorted(known)))
                for key in record if key not in known]  # fmt: skip
    given = record["service_time"]
    load_s, overhead_s = (_seconds(record, name, file, problems) for name in ("load_s", "overhead_s"))
    if not isinstance(given, list):
        if "overhead_s" in record:
            what = "only batched points have it: one request at a time is the whole of the request"
            problems.append(Problem(file=file, field="overhead_s", what=what))
        time = _time(given, "service_time", file, problems)
        if problems or time is None:
            raise ProfileError(*problems)
        return OneAtATime(time=time, load_s=load_s)
    points = [_point(point, f"service_time.{index}", file, problems) for index, point in enumerate(given)]
    places = [(point.instances, point.batch) for point in points if point]
    problems += [
        Problem(file=file, field=f"service_time.{index}", what=f"batch {place[1]} with {place[0]} instances given twice")
        for index, place in enumerate(places) if place in places[:index]
    ]  # fmt: skip
    if not given:
        problems.append(Problem(file=file, field="service_time", what="at least one point is needed"))
    if problems:
        raise ProfileError(*problems)
    return _profile([point for point in points if point], overhead_s, load_s, file)


def _seconds(record: dict[str, Any], name: str, file: str, problems: list[Problem]) -> float:
    value = record.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        problems.append(
            Problem(file=file, field=name, what="not a time", found=repr(value), allowed="seconds from 0 up")
        )
        return 0.0
    return float(value)


def _time(given: Any, path: str, file: str, problems: list[Problem]) -> Time | None:
    """A distribution, or a mean and quantiles; what is wrong goes to `problems`."""
    if not isinstance(given, dict):
        problems.append(
            Problem(file=file, field=path, what="not a service time", found=repr(given)[:60],
                    allowed="an object with distribution, mean_s or quantiles_s; or a list of such points")
        )  # fmt: skip
        return None
    adapter: TypeAdapter[Any] = TypeAdapter(Lognormal if "distribution" in given else Spread)
    try:
        time: Time = adapter.validate_json(json.dumps(given))
    except ValidationError as error:
        for fault in error.errors():
            field = ".".join((path, *map(str, fault["loc"])))
            found = "" if fault["type"] == "missing" else repr(fault["input"])[:60]
            problems.append(Problem(file=file, field=field, what=fault["msg"], found=found))
        return None
    wrong = list(_impossible(time))
    problems += [Problem(file=file, field=f"{path}.{name}".rstrip("."), what=what) for name, what in wrong]
    return None if wrong else time


def _impossible(time: Time) -> Iterator[tuple[str, str]]:
    """Fields whose values no service time has."""
    yield from faults({key: value for key, value in asdict(time).items() if value is not None})
    if isinstance(time, Lognormal):
        if time.scale <= 0:
            yield "scale", "a number above zero is needed"
    elif time.mean_s is None and time.quantiles_s is None:
        yield "", "mean_s or quantiles_s is needed"
    elif time.quantiles_s is not None and time.quantiles_s.values and time.quantiles_s.values[-1] <= 0:
        yield "quantiles_s.values", "the largest has to be above zero"


def _point(given: Any, path: str, file: str, problems: list[Problem]) -> ServicePoint | None:
    whole = {}
    rest = dict(given) if isinstance(given, dict) else given
    for name in ("batch", "instances"):
        value = rest.pop(name, 1 if name == "instances" else None) if isinstance(rest, dict) else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            problems.append(Problem(file=file, field=f"{path}.{name}", what="missing" if value is None else "not a count",
                                    found="" if value is None else repr(value), allowed="a whole number from 1 up"))  # fmt: skip
        whole[name] = value
    time = _time(rest, path, file, problems)
    if time is None or problems:
        return None
    mean_s = mean_of(time)
    return ServicePoint(
        batch=whole["batch"], instances=whole["instances"], requests=whole["batch"], count=1, mean_s=mean_s,
        quantiles_s=quantiles_of(time), server_compute_s=mean_s,
    )  # fmt: skip


def as_profile(law: OneAtATime) -> Profile:
    """The profile of a model that cannot be batched, with one instance."""
    mean_s = mean_of(law.time)
    point = ServicePoint(
        batch=1, instances=1, requests=1, count=1, mean_s=mean_s, quantiles_s=quantiles_of(law.time),
        server_compute_s=mean_s,
    )  # fmt: skip
    return _profile([point], 0.0, law.load_s, "")


def mean_of(time: Time) -> float:
    """The mean: given, or that of the quantiles with straight lines between them."""
    if time.mean_s is not None:
        return time.mean_s
    quantiles = quantiles_of(time)
    edges = (0.0, *quantiles.probabilities, 1.0)
    values = (quantiles.values[0], *quantiles.values, quantiles.values[-1])
    return sum((edges[i + 1] - edges[i]) * (values[i] + values[i + 1]) / 2 for i in range(len(edges) - 1))


def quantiles_of(time: Time) -> Quantiles:
    """The quantiles: given, or those of a time without spread. With a mean they are stretched to it where they are used."""
    return time.quantiles_s or Quantiles(probabilities=(0.5,), values=(time.mean_s or 0.0,))


def _profile(points: list[ServicePoint], overhead_s: float, load_s: float, file: str) -> Profile:
    """A profile of hand-written points: what it does not say is zero."""
    stage = StageProfile(
        model="model", max_batch=max(point.batch for point in points),
        points=tuple(sorted(points, key=lambda point: (point.instances, point.batch))),
        memory_loaded_bytes=0.0, memory_peak_bytes=0.0,
    )  # fmt: skip
    return Profile(
        model="model", hardware="cpu", model_digest="", stages=(stage,),
        overhead_s=Quantiles(probabilities=(0.5,), values=(overhead_s,)), load_s=load_s, cpu_per_request_s=0.0,
        memory_server_bytes=0.0, host={"source": file}, versions={}, measured_at="",
    )  # fmt: skip
