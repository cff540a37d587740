"""How many manifests a second the linter looks at: read, joined, every rule, on one core.

1,000 files: 600 services of 40 to 60 lines, 100 runtimes, 100 autoscalers, 200 config.pbtxt. Reading the disk counts.

    python -m benchmarks.bench_lint [--manifests 1000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, median_figure, publish
from kserve_ext.files import read_text, write_text
from kserve_ext.lint import RULES, check
from kserve_ext.linting import read_sources

GOLDEN = Path("tests/golden/render/digits")
_AUTOSCALER = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {name}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {name}-predictor
  minReplicas: 1
  maxReplicas: 8
  metrics:
  - type: Pods
    pods:
      metric:
        name: avg_time_queue_us
      target:
        type: AverageValue
        averageValue: "5000"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), arguments.manifests)
        seconds = [_lint_s(folder) for _ in range(arguments.rounds)]
    publish(
        "lint",
        [
            median_figure("lint_manifests_per_s", [arguments.manifests / one for one in seconds], "1/s"),
            median_figure("lint_s", seconds, "s", baseline="1,000 manifests in under 5 s"),
            Figure(name="lint_rules", value=float(len(RULES)), unit="rules"),
        ],
    )


def _lint_s(folder: str) -> float:
    """Seconds of one run over everything in the folder."""
    started = time.monotonic()
    found = read_sources([folder])
    outcome = check(found.sources)
    seconds = time.monotonic() - started
    print(f"{outcome.checked} objects and configs, {len(outcome.findings)} findings in {seconds:.2f} s")
    return seconds


def _write(folder: Path, count: int) -> None:
    """The rendered example under many names; every tenth service has something to find."""
    service, runtime = read_text(GOLDEN / "inferenceservice.yaml"), read_text(GOLDEN / "servingruntime.yaml")
    config = read_text(GOLDEN / "model_repo" / "digits" / "config.pbtxt")
    for index in range(count):
        name, kind = f"digits-{index // 10}-{index % 10}", index % 10
        if kind < 6:
            text = service.replace("digits", name)
            wrong = "    deploymentStrategy:\n      type: Recreate\n    minReplicas"
            write_text(folder / f"{name}.yaml", text if kind else text.replace("    minReplicas", wrong, 1))
        elif kind == 6:
            write_text(folder / f"{name}.yaml", runtime.replace("digits", f"digits-{index // 10}-1"))
        elif kind == 7:
            write_text(folder / f"{name}.yaml", _AUTOSCALER.format(name=name))
        else:
            model = f"digits-{index // 10}-{kind - 7}"
            write_text(folder / "model_repo" / model / "config.pbtxt", config.replace("digits", model))


if __name__ == "__main__":
    main()
