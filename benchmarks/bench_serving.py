"""Our server for custom predictors beside KServe's, Triton, MLServer, LitServe and BentoML, each in the same run.

CPU milliseconds of a request are what counts: they survive a busy machine. Rounds go through all servers in turn, each
started anew; figures are medians of rounds, ratios are taken within a round. Peers are installed once, outside the project.

    python -m benchmarks.bench_serving [--rounds 3] [--parts tiny,minilm,codec,tail,ending,overload]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.figures import OUT, Figure, median_figure, publish
from benchmarks.serving import image_codec, peers
from benchmarks.serving.drive import CONCURRENCY, Point, drive
from benchmarks.serving.ending import end_under_load
from benchmarks.serving.models import BenchModel, bare_loop, minilm, tiny
from benchmarks.serving.overload import TIMES, overload
from benchmarks.serving.running import NotStartedError
from benchmarks.serving.tail import SHARE, tail

REST = ("rest_json", "rest_binary")
_SECONDS = 3.0
_BATCHES = (4, 8, 16, 32)
_BARE_S = 2.0
_TAIL_BATCH, _TAIL_INSTANCES = 4, 2  # both cores; small batches, which cost a tenth of the capacity and halve the tail
_TAIL_DELAY = "4ms"  # fewer and fuller batches: the median is later for it, the p99 is not
_MINILM_BATCH = 16  # where nothing depends on the last percent
_ENDS = 20
_OVERLOAD_S = 60.0

Round = Mapping[tuple[str, str], Point]  # (server, way)
Rates = Mapping[tuple[str, str], float]  # of what stands beside each point


def main() -> None:
    arguments = _arguments()
    parts: dict[str, Callable[[Path], Sequence[Figure]]] = {
        "tiny": lambda folder: _tiny(folder, arguments.rounds),
        "minilm": lambda folder: _minilm(folder, arguments.rounds),
        "codec": lambda _: _codec(),
        "tail": lambda folder: _tail(folder, arguments.rounds),
        "ending": lambda folder: _ending(folder, arguments.ends),
        "overload": lambda folder: _overload(folder, arguments.overload_s),
    }
    wanted = arguments.parts.split(",") if arguments.parts else list(parts)
    if unknown := [name for name in wanted if name not in parts]:
        raise SystemExit(f"bench-serving: no part {', '.join(unknown)}; there are {', '.join(parts)}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            figures += parts[name](Path(folder))
    kept = list(_kept(figures)) if arguments.parts else []
    publish("serving", [*kept, *figures])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default="", help="some of them; the figures of the others are kept as they are")
    parser.add_argument("--ends", type=int, default=_ENDS, help="how many times a loaded server is ended, per kind")
    parser.add_argument("--overload-s", type=float, default=_OVERLOAD_S)
    return parser.parse_args()


def _kept(new: Sequence[Figure]) -> Iterator[Figure]:
    """The figures of an earlier run that this one did not measure."""
    file, names = OUT / "serving.json", {figure.name for figure in new}
    if file.is_file():
        yield from (Figure(**row) for row in json.loads(file.read_text()) if row["name"] not in names)


# --------------------------------------------------------------------------------------------------------- the parts


def _tiny(folder: Path, rounds: int) -> Sequence[Figure]:
    seen = [measured for _, measured in _rounds(tiny(folder), rounds)]

    def ratio(way: str, other: str, of: Callable[[Point], float]) -> list[float]:
        return [of(points["ours", way]) / of(points[other, way]) for points in seen if (other, way) in points]

    def cpu(point: Point) -> float:
        return point.cpu_ms

    def rps(point: Point) -> float:
        return point.rps

    figures = [
        *_of_each("", "cpu_ms", "ms", seen, cpu),
        *_of_each("", "rps", "1/s", seen, rps),
        _worst("rest_cpu_over_triton", [ratio(way, "triton", cpu) for way in REST], max, "Triton's CPU, same run"),
        _worst("rest_cpu_over_kserve", [ratio(way, "kserve", cpu) for way in REST], max, "KServe's CPU, same run"),
        _worst("grpc_cpu_over_kserve", [ratio("grpc", "kserve", cpu)], max, "KServe's CPU, same run"),
        _worst("grpc_cpu_over_triton", [ratio("grpc", "triton", cpu)], max, "Triton's CPU, same run"),
        _worst("rest_throughput_over_kserve", [ratio(way, "kserve", rps) for way in REST], min, "KServe's rate"),
        _worst("grpc_throughput_over_kserve", [ratio("grpc", "kserve", rps)], min, "KServe's rate"),
    ]
    figures += [
        _worst(f"{way}_cpu_over_{other}", [ratio(way, other, cpu)], max, f"{other}'s CPU, same run")
        for way in REST
        for other in ("kserve", "triton")
    ]
    return figures


def _minilm(folder: Path, rounds: int) -> Sequence[Figure]:
    model = minilm(folder)
    best = _best_batch(model)
    model = replace(model, most=best)  # as a plan would have it: the batch where the curve turns
    measured = list(_rounds(model, rounds, beside=lambda: bare_loop(model, best, _BARE_S)[0]))
    seen = [points for _, points in measured]
    bare = [rate for rates, _ in measured for rate in rates.values()]
    figures: list[Figure] = [median_figure("minilm_ort_rps", bare, "1/s", baseline=f"one thread, best batch ({best})")]
    for server in sorted({server for points in seen for server, _ in points}):
        shares = [
            max(points[key].rps / rates[key] for key in points if key[0] == server)
            for rates, points in measured
            if any(name == server for name, _ in points)
        ]
        name = "minilm_share_of_ort" if server == "ours" else f"{server}_minilm_share_of_ort"
        figures.append(median_figure(name, shares, "fraction", baseline="onnxruntime alone just before and after"))
    return [*figures, *_of_each("minilm_", "cpu_ms", "ms", seen, lambda point: point.cpu_ms)]


def _best_batch(model: BenchModel) -> int:
    """The batch at which the bare loop is quickest."""
    rates = {batch: bare_loop(model, batch, _BARE_S)[0] for batch in _BATCHES}
    return max(rates, key=lambda batch: rates[batch])


def _codec() -> Sequence[Figure]:
    ratios, ours_us = [], []
    for _ in range(3):
        mine_s, theirs_s = image_codec.in_own_process()
        ratios.append(mine_s / theirs_s)
        ours_us.append(mine_s * 1e6)
    return [
        median_figure("image_codec_over_kserve", ratios, "ratio", baseline="KServe's decode + encode, 224x224x3 FP32"),
        median_figure("image_codec_us", ours_us, "us"),
    ]


def _tail(folder: Path, rounds: int) -> Sequence[Figure]:
    model = replace(minilm(folder), most=_TAIL_BATCH)
    ratios, p50_ms, p99_ms = [], [], []
    for place in range(rounds):
        settings = {
            "KSERVE_EXT_INSTANCES": str(_TAIL_INSTANCES),
            "KSERVE_EXT_MAX_QUEUE_DELAY": _TAIL_DELAY,
            "KSERVE_EXT_CONCURRENCY_LIMIT": "256",  # all are answered
        }
        with peers.ours(model, settings) as serving:
            seen = tail(serving, seed=11 + place)
        print(f"tail, round {place + 1}: {seen}", flush=True)
        ratios.append(seen.p99_ms / seen.p50_ms)
        p50_ms.append(seen.p50_ms)
        p99_ms.append(seen.p99_ms)
    how = f"{_TAIL_INSTANCES} instances, batches of {_TAIL_BATCH}, {_TAIL_DELAY} of delay"
    beside = f"open loop at {SHARE:.0%} of capacity, minilm, {how}"
    return [
        median_figure("p99_over_p50", ratios, "ratio", baseline=beside),
        median_figure("p50_ms", p50_ms, "ms", baseline=beside),
        median_figure("p99_ms", p99_ms, "ms", baseline=beside),
    ]


def _ending(folder: Path, ends: int) -> Sequence[Figure]:
    model = minilm(folder)
    lost, answered, unclean = [], 0, 0
    for workers in (1, 2):
        for place in range(ends):
            ended = end_under_load(model, workers)
            answered += ended.answered
            unclean += ended.exit_code != 0
            lost.append(float(len(ended.lost)))
            told = f", lost {len(ended.lost)}: {ended.lost[:3]}" if ended.lost else ""
            print(
                f"end {place + 1} with {workers} worker(s): {ended.answered} answered, out after {ended.took_s:.1f} s"
                f" with {ended.exit_code}{told}",
                flush=True,
            )
    return [
        Figure(name="sigterm_lost", value=sum(lost), unit="requests", rounds=len(lost), baseline="1 and 2 workers"),
        Figure(name="sigterm_answered", value=float(answered), unit="requests", rounds=len(lost)),
        Figure(name="sigterm_unclean_exits", value=float(unclean), unit="exits", rounds=len(lost)),
    ]


def _overload(folder: Path, seconds: float) -> Sequence[Figure]:
    with peers.ours(replace(minilm(folder), most=_MINILM_BATCH)) as serving:
        seen = overload(serving, seconds)
    print(f"overload: {seen}", flush=True)
    beside = f"{TIMES:g} times the capacity for {seconds:g} s, minilm"
    return [
        Figure(name="overload_goodput_share", value=seen.goodput_share, unit="fraction", baseline=beside),
        Figure(name="overload_health_ms", value=seen.health_ms, unit="ms", baseline="slowest of all probes"),
        Figure(name="overload_health_failures", value=float(seen.health_failures), unit="probes"),
        Figure(name="overload_memory_growth_mib", value=seen.memory_growth_bytes / 2**20, unit="MiB"),
    ]


# ----------------------------------------------------------------------------------------------------------- rounds


def _rounds(model: BenchModel, rounds: int, beside: Callable[[], float] = lambda: 0.0) -> Iterator[tuple[Rates, Round]]:
    """Every server once in each round, in an order that turns; `beside` is measured just before and after each point."""
    starts = peers.starts()
    for place in range(rounds):
        names = list(starts)
        names = names if place % 2 == 0 else names[::-1]
        points: dict[tuple[str, str], Point] = {}
        rates: dict[tuple[str, str], float] = {}
        for name in names:
            try:
                with starts[name](model) as serving:
                    for way in serving.ways:
                        before = beside()
                        points[name, way] = point = drive(serving, way, _SECONDS)
                        rates[name, way] = (before + beside()) / 2
                        _show(f"{model.name}, round {place + 1}: {name:9} {way:12}", point, rates[name, way])
            except NotStartedError as error:
                print(f"{name}: left out of this round: {error.message}", flush=True)
        yield rates, points


def _show(what: str, point: Point, beside: float) -> None:
    told = f", {point.rps / beside:.2f} of {beside:.0f}/s" if beside else ""
    print(
        f"{what} {point.cpu_ms:7.3f} ms CPU {point.rps:8.0f}/s  p50 {point.p50_ms:7.2f} ms  p99 {point.p99_ms:7.2f} ms "
        f"(generator {point.generator_cores:.2f} cores{told})",
        flush=True,
    )


def _of_each(
    prefix: str, what: str, unit: str, seen: Sequence[Round], of: Callable[[Point], float]
) -> Iterator[Figure]:
    """One figure for each server and way; ours without a name before it."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for points in seen:
        for key, point in points.items():
            values[key].append(of(point))
    for (server, way), found in values.items():
        name = f"{prefix}{way}_{what}" if server == "ours" else f"{server}_{prefix}{way}_{what}"
        yield median_figure(name, found, unit, baseline=f"{CONCURRENCY} in flight")


def _worst(name: str, ratios: Sequence[Sequence[float]], choose: Any, beside: str) -> Figure:
    """The least favourable of several ways, by the median of its rounds."""
    return median_figure(name, choose(ratios, key=statistics.median), "ratio", baseline=beside)


if __name__ == "__main__":
    main()
