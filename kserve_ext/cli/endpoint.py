"""What `verify` needs from its options: numbers with units, and samples that the endpoint can take."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from kserve_ext.bench.payload import Sample, load_samples
from kserve_ext.bench.samples import made_up_samples
from kserve_ext.bench.target import Target
from kserve_ext.cli.shared import option
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


def endpoint_samples(target: Target, path: Path | None, seed: int) -> tuple[Sample, ...]:
    """Samples from a file, or made up from what the endpoint says of its inputs. Raises InputError, UnreachableError."""
    if path is not None:
        return load_samples(read_text(path), str(path))
    return made_up_samples(target, seed)
