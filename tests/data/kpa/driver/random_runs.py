"""Prints random runs for the Go driver, one JSON object per line: `python random_runs.py COUNT SEED [wild]`.

Settings stay within what Knative accepts. Load comes in phases: idle, constant, ramps, spikes, noise, exact multiples
of the target, and gaps up to beyond the stable window; samples come once or twice a second, jittered, some of them late.
Wild runs leave what Knative accepts: windows of broken seconds, rates of 1, tiny and huge targets, loads and ticks.
"""

from __future__ import annotations

import json
import math
import random
import sys

Pairs = list[list[float]]


def settings(rng: random.Random) -> dict[str, object]:
    total = rng.choice((1, 2, 4, 10, 100, 200, round(rng.uniform(0.1, 50), 3)))
    stable_s = rng.choice((6, 6, 7, 10, 15, 30, 60, 60, 60, 61, 120, 300))
    panic_s = max(1, math.floor(stable_s * rng.choice((1, 5, 10, 10, 10, 33, 50, 100)) / 100 + 0.5))
    return {
        "TargetValue": max(0.01, total * rng.choice((0.7, 0.7, 0.8, 1, round(rng.uniform(0.01, 1), 2)))),
        "TotalValue": total,
        "TargetBurstCapacity": rng.choice((-1, 0, 211, rng.randint(1, 50), round(rng.uniform(0, 300), 1))),
        "MaxScaleUpRate": rng.choice((1000, 1000, 10, 2, 1.1, round(rng.uniform(1.01, 5), 2))),
        "MaxScaleDownRate": rng.choice((2, 2, 1.1, 10, 1000, round(rng.uniform(1.01, 5), 2))),
        "PanicThreshold": rng.choice((2, 2, 1.1, 2.1, 10, round(rng.uniform(1.1, 10), 2))),
        "Reachable": rng.random() < 0.85,
        "ActivationScale": rng.choice((0, 0, 0, 2, 3, 10)),
        "ScalingMetric": rng.choice(("concurrency", "concurrency", "rps")),
        "ScrapeTarget": rng.choice(("", "service")),
        "stable_window_s": stable_s,
        "panic_window_s": panic_s,
        "aggregation": rng.choice(("linear", "linear", "weighted-exponential")),
        "scale_down_delay_s": rng.choice((0, 0, 0, 1, 2, 7, 30, 60, 300)),
        "initial_ready": rng.choice((0, 0, 1, 2, 7, 30)),
    }


def load(rng: random.Random, length_s: int, target: float, window_s: float) -> list[float | None]:
    """The load of every second; None where no sample comes."""
    scale = target * rng.choice((0.3, 1, 3, 10, 60))
    seconds: list[float | None] = []
    while len(seconds) < length_s:
        span = rng.randint(1, 40)
        level = rng.uniform(0, 2) * scale
        kind = rng.choice(("idle", "constant", "ramp", "spike", "noise", "multiple", "gap", "wide gap"))
        if kind == "wide gap":
            span = int(window_s) + rng.randint(-2, 5) if window_s <= 70 else 5
        for i in range(span):
            value = {
                "idle": 0.0,
                "constant": level,
                "ramp": level * i / span,
                "spike": level * (20 if i < 2 else 0.1),
                "noise": rng.uniform(0, level),
                "multiple": target * rng.randint(0, 5),
            }.get(kind)
            seconds.append(
                None if value is None or rng.random() < 0.02 else round(value, 6 if kind == "multiple" else 2)
            )
    return seconds[:length_s]


def samples(rng: random.Random, seconds: list[float | None]) -> Pairs:
    style = rng.choice(("whole", "whole", "twice", "jitter", "late"))
    records: Pairs = []
    for t_s, value in enumerate(seconds):
        if value is None:
            continue
        if style == "twice":
            records += [[t_s + 0.1, value], [t_s + 0.6, round(value / 3, 2)]]
        elif style == "jitter":
            records.append([round(t_s + rng.uniform(0, 1.6), 3), value])
        else:
            late_s = rng.choice((1, 2, 5, 10, 70)) if style == "late" and rng.random() < 0.1 else 0
            records.append([max(0, t_s - late_s), value])
    return records


def clock(rng: random.Random, seconds: list[float | None], target: float, whole: bool) -> Pairs:
    """Ticks every 2 s, some extra ones, with ready pods that follow the load late and imperfectly."""
    phase_s = 0 if whole else rng.choice((0, 0, 0.25, 1, 1.437))
    lag_s, error = rng.choice((1, 10, 40)), rng.choice((0, 0.3))
    ticks: Pairs = []
    for second in range(0, len(seconds), 2):
        past = seconds[max(0, second - lag_s)] or 0.0
        ready = max(0, round(math.ceil(past / target) * rng.uniform(1 - error, 1 + error)))
        t_s = second + phase_s
        ticks.append([t_s, min(ready, 2000)])
        if rng.random() < 0.05:
            ticks.append([t_s + (1 if whole else 0.125), ready])
    return ticks


def make(rng: random.Random) -> dict[str, object]:
    config = settings(rng)
    target, window_s, ready = config["TargetValue"], config["stable_window_s"], config["initial_ready"]
    assert isinstance(target, float | int)
    assert isinstance(window_s, int)
    assert isinstance(ready, int)
    seconds = load(rng, rng.randint(20, 240), target, window_s)
    return {
        "config": config,
        "records": samples(rng, seconds),
        "ticks": clock(rng, seconds, target, whole=ready > 1),  # New reads the wall clock: whole seconds hide it
    }


def hair_above(rng: random.Random) -> float:
    """What a product of decimals gives for whole seconds: 0.07 * 100 is 7.000000000000001."""
    return math.nextafter(rng.randint(1, 60), math.inf)


def wild_settings(rng: random.Random) -> dict[str, object]:
    total = 10 ** rng.uniform(-2, 4)
    ready = rng.choice((0, 0, 1, 2, 1000))
    stable_s = rng.choice((rng.randint(6, 600), rng.uniform(1, 90), hair_above(rng), 6.5, 7.25, 1, 2, 3600))
    if ready > 1:
        stable_s = math.ceil(stable_s)  # New reads the wall clock: whole seconds hide it
    return settings(rng) | {
        "TargetValue": max(0.01, total * rng.uniform(0.01, 1)),
        "TotalValue": total,
        "TargetBurstCapacity": rng.choice((-1, 0, 0.5, rng.uniform(0, 1e4), 1e10)),
        "MaxScaleUpRate": rng.choice((1.0, 1.0000001, rng.uniform(1, 3), 1e9)),
        "MaxScaleDownRate": rng.choice((1.0, 1.0000001, rng.uniform(1, 3), 1e9)),
        "PanicThreshold": rng.choice((0, 1, rng.uniform(1, 10))),
        "ActivationScale": rng.choice((0, 1, 5, 100_000)),
        "stable_window_s": stable_s,
        "panic_window_s": rng.choice(
            (max(0.5, stable_s * rng.choice((0.1, 1, rng.uniform(0.01, 1)))), hair_above(rng))
        ),
        "scale_down_delay_s": rng.choice(
            (0, rng.uniform(0, 100), rng.randint(1, 3600), 1.999999999, 2 * hair_above(rng))
        ),
        "initial_ready": ready,
    }


def make_wild(rng: random.Random) -> dict[str, object]:
    config = wild_settings(rng)
    target, window_s, ready = config["TargetValue"], config["stable_window_s"], config["initial_ready"]
    assert isinstance(target, float)
    assert isinstance(window_s, float | int)
    assert isinstance(ready, int)
    records, ticks = [], []
    t_s, length_s = 0.0, rng.randint(5, 300)
    scale = target * 10 ** rng.uniform(-2, 3)
    while t_s < length_s:
        value = rng.choice(
            (0.0, rng.expovariate(1 / scale), target * rng.randint(0, 9), 1e-9, 1e12 * (rng.random() < 0.02))
        )
        records.append([round(t_s, rng.choice((0, 1, 3, 6))), value])
        gap_s = window_s + rng.uniform(-2, 2) if rng.random() < 0.05 else rng.choice((1, 1, 0.5, 0.1, 2))
        t_s = max(0.0, t_s + (-rng.uniform(0, 5) if rng.random() < 0.1 else gap_s))
    whole, now_s = ready > 1, 0.0
    while now_s < length_s + window_s and len(ticks) < 200:
        ticks.append([now_s, ready])
        ready = rng.choice((ready, ready, max(0, ready + rng.randint(-3, 5)), rng.randint(0, 50)))
        now_s += 2 if rng.random() < 0.9 else rng.randint(0, 7) if whole else rng.uniform(0, 7)
    return {"config": config, "records": records, "ticks": ticks}


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    rng, kind = random.Random(seed), make_wild if sys.argv[3:] == ["wild"] else make
    for _ in range(count):
        sys.stdout.write(json.dumps(kind(rng), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
