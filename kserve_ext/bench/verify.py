"""Load on a running endpoint and a verdict: check the answers, warm up, run, measure, judge.

In: a target, samples, an SLO. Out: a `Verdict`. Raises UnreachableError when nobody answers and ModelError when the
answers are wrong; a missed SLO is a result, not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.codec import decode, encode
from kserve_ext.bench.exchange import exchange, refusal
from kserve_ext.bench.loop import LoadResult, run_closed_loop, run_open_loop
from kserve_ext.bench.measure import Verdict, judge, measure
from kserve_ext.bench.payload import Sample
from kserve_ext.bench.target import Target
from kserve_ext.bench.tensor import Tensor
from kserve_ext.domain import Slo
from kserve_ext.errors import ModelError, Problem

CHECKED_SAMPLES = 16
WARMUP_S = 2.0
WARMUP_SEED = 1_000_003  # other arrivals than the run's

Counters = Callable[[], tuple[int, int]]  # rows inferred and executions so far, by the server's own count


def ask(target: Target, samples: Sequence[Sample], *, binary: bool = True) -> list[tuple[Tensor, ...]]:
    """The outputs for each sample, asked one by one. Raises ModelError for an answer that is not one."""
    replies = exchange(target, [encode(sample, target, binary=binary) for sample in samples])
    answers = []
    for i, reply in enumerate(replies):
        if reply.outcome:
            raise refusal(target, reply, f"sample {i}")
        try:
            answers.append(decode(reply, target))
        except ValueError as error:
            raise ModelError(Problem(what=f"{target.model} at {target.address}, sample {i}: {error}")) from error
    return answers


def check_answers(
    target: Target, samples: Sequence[Sample], *, outputs: Sequence[str] = (), binary: bool = True
) -> None:
    """Refuse a model whose answers cannot be right. Raises ModelError naming the output and the sample.

    Looks at the first samples only. `outputs` are the names that must be there; without them one output is enough.
    """
    for i, answer in enumerate(ask(target, samples[:CHECKED_SAMPLES], binary=binary)):
        missing = [name for name in outputs if name not in {tensor.name for tensor in answer}]
        if missing or not answer:
            names = ", ".join(f"`{name}`" for name in missing) or "any output"
            raise ModelError(Problem(what=f"{target.model} answers without {names} for sample {i}"))
        for tensor in answer:
            if fault := _fault(tensor):
                raise ModelError(
                    Problem(what=f"{target.model} answers {fault} in output `{tensor.name}` for sample {i}"),
                    remedy="check the weights and the samples: such answers are useless however fast they are",
                )


def _fault(tensor: Tensor) -> str:
    if tensor.data.dtype.kind != "f" or np.isfinite(tensor.data).all():
        return ""
    return "NaN" if np.isnan(tensor.data).any() else "Inf"


def verify(
    target: Target,
    samples: Sequence[Sample],
    *,
    slo: Slo,
    rate_rps: float,
    duration_s: float,
    concurrency: int | None = None,
    warmup_s: float = WARMUP_S,
    seed: int = 0,
    connections: int | None = None,
    outputs: Sequence[str] = (),
    counters: Counters | None = None,
) -> Verdict:
    """Whether `target` holds `slo` at `rate_rps`, by Poisson arrivals; with `concurrency`, in closed loop instead."""
    check_answers(target, samples, outputs=outputs)
    requests = [encode(sample, target) for sample in samples]

    def run(length_s: float, run_seed: int) -> LoadResult:
        if concurrency is not None:
            return run_closed_loop(target, requests, concurrency, length_s)
        return run_open_loop(target, requests, poisson(rate_rps, length_s, run_seed), connections=connections)

    if warmup_s > 0:
        run(warmup_s, WARMUP_SEED)
    before = counters() if counters else (0, 0)
    result = run(duration_s, seed)
    after = counters() if counters else (0, 0)
    offered_rps = rate_rps if concurrency is None else 0.0
    measurement = measure(result, rate_rps=offered_rps, mean_batch=_mean_batch(before, after))
    return judge(result, measurement, slo)


def _mean_batch(before: tuple[int, int], after: tuple[int, int]) -> float:
    executions = after[1] - before[1]
    return (after[0] - before[0]) / executions if executions > 0 else 0.0
