"""A model's statistics as Triton's statistics extension answers them. Tally in, plain objects out."""

from __future__ import annotations

from typing import Any

from kserve_ext.serving.tally import Tally

_NS = 1e9


def statistics(name: str, version: str, tally: Tally) -> dict[str, Any]:
    """One entry of `model_stats`. Times are nanoseconds; input and output times are within `compute_infer`."""
    done = tally.succeeded
    return {
        "name": name,
        "version": version,
        "last_inference": tally.last_ms,
        "inference_count": tally.rows,
        "execution_count": tally.executions,
        "inference_stats": {
            "success": _sums(done, tally.request_s),
            "fail": _sums(tally.failed, tally.fail_s),
            "queue": _sums(done, tally.queue_s),
            "compute_input": _sums(done, 0.0),
            "compute_infer": _sums(done, tally.infer_s),
            "compute_output": _sums(done, 0.0),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _sums(int(executions), 0.0),
                "compute_infer": _sums(int(executions), seconds),
                "compute_output": _sums(int(executions), 0.0),
            }
            for rows, (executions, seconds) in sorted(tally.batches.items())
        ],
    }


def _sums(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * _NS)}
