"""What `verify` needs from its options: numbers with units, and samples that the endpoint can take."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from kserve_ext.bench.payload import Sample, load_samples
from kserve_ext.bench.samples import made_up_samples
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.cli.shared import option
from kserve_ext.domain import Protocol
from kserve_ext.errors import InputError, Problem
from kserve_ext.files import read_text
from kserve_ext.units import parse_duration_s, parse_rate_rps


class LoadOptions(NamedTuple):
    """Options of a load run as numbers; `rate_rps` is 0 in closed loop."""

    slo_p99_s: float
    rate_rps: float
    duration_s: float


def load_options(slo_p99: str, rate: str | None, concurrency: int | None, duration: str) -> LoadOptions:
    """The options read. Raises InputError naming the option, also when neither or both kinds of load are asked for."""
    if (rate is None) == (concurrency is None):
        raise InputError(
            Problem(field="--rate, --concurrency", what="exactly one is needed",
                    found="both" if rate else "neither", allowed="--rate 200rps (open loop) or --concurrency 16 (closed loop)")
        )  # fmt: skip
    return LoadOptions(
        slo_p99_s=option("--slo-p99", slo_p99, parse_duration_s),
        rate_rps=option("--rate", rate, parse_rate_rps)[1] if rate else 0.0,
        duration_s=option("--duration", duration, parse_duration_s),
    )


class AskedLoad(NamedTuple):
    """What of a load is asked for on the command line; None is left to the plan."""

    slo_p99_s: float | None
    rate_rps: float | None


def asked_load(slo_p99: str | None, rate: str | None, concurrency: int | None) -> AskedLoad:
    """The options read, none of them needed. Raises InputError."""
    if rate is not None and concurrency is not None:
        raise InputError(Problem(field="--rate, --concurrency", what="both given", allowed="at most one of them"))
    return AskedLoad(
        slo_p99_s=option("--slo-p99", slo_p99, parse_duration_s) if slo_p99 else None,
        rate_rps=option("--rate", rate, parse_rate_rps)[1] if rate else None,
    )


def check_where(
    url: str | None, isvc: str | None, *, via: str | None, model: str | None, slo_p99: str | None,
    protocol: Protocol | None, authority: str | None,
) -> None:  # fmt: skip
    """Refuse options that do not go together. Raises InputError."""
    if (url is None) == (isvc is None):
        found = "both" if url else "neither"
        raise InputError(Problem(field="URL, --isvc", what="exactly one is needed", found=found))
    of_url = {"--model": model, "--slo-p99": slo_p99}
    missing = [name for name, value in of_url.items() if not value]
    if url is not None and missing:
        raise InputError(Problem(field=", ".join(missing), what="missing", allowed="needed with a URL"))
    wrong = {"--via": via} if url is not None else {"--protocol": protocol, "--host": authority}
    given = [name for name, value in wrong.items() if value]
    if given:
        goes_with = "--isvc NAME" if url is not None else "a URL; an InferenceService says it itself"
        raise InputError(Problem(field=", ".join(given), what="does not go with this", allowed=f"with {goes_with}"))


def load_target(url: str, model: str, protocol: Protocol | None, authority: str | None) -> Target:
    """The target of a URL. Raises InputError."""
    return parse_target(url, model=model, protocol=protocol, authority=authority)


def endpoint_samples(target: Target, path: Path | None, seed: int) -> tuple[Sample, ...]:
    """Samples from a file, or made up from what the endpoint says of its inputs. Raises InputError, UnreachableError."""
    if path is not None:
        return load_samples(read_text(path), str(path))
    return made_up_samples(target, seed)
