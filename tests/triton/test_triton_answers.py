"""Triton's JSON as frozen types, in seconds, and what the difference of two readings is."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.triton.answers import BatchStatistics, ModelStatistics, TensorSpec, read_metadata, read_statistics


def entry(version: str, executions: int = 3) -> dict[str, Any]:
    return {
        "name": "m", "version": version, "inference_count": 7, "execution_count": executions,
        "inference_stats": {
            "success": {"count": 5, "ns": 3_000_000_000}, "fail": {"count": 1, "ns": 9},
            "queue": {"count": 5, "ns": 2_000_000_000},
        },
        "batch_stats": [
            {
                "batch_size": 2, "compute_input": {"count": 3, "ns": 500_000_000},
                "compute_infer": {"count": 3, "ns": 1_500_000_000}, "compute_output": {"count": 3, "ns": 250_000_000},
            }
        ],
    }  # fmt: skip


def test_counters_are_read_in_seconds() -> None:
    assert read_statistics({"model_stats": [entry("1")]}) == ModelStatistics(
        inference_count=7,
        execution_count=3,
        request_count=5,
        failed_count=1,
        queue_s=2.0,
        request_s=3.0,
        batches={2: BatchStatistics(executions=3, compute_input_s=0.5, compute_infer_s=1.5, compute_output_s=0.25)},
    )


def test_of_several_versions_the_newest_counts() -> None:
    assert read_statistics({"model_stats": [entry("9"), entry("10", executions=4)]}).execution_count == 4


def test_metadata_is_read_with_the_batch_size_of_the_config() -> None:
    answer = {"name": "m", "platform": "ensemble", "inputs": [{"name": "x", "datatype": "BYTES", "shape": ["-1", 1]}]}
    found = read_metadata(answer, {"max_batch_size": 4})
    assert found.inputs == (TensorSpec(name="x", datatype="BYTES", shape=(-1, 1)),)
    assert (found.outputs, found.max_batch_size, found.backend, found.is_ensemble) == ((), 4, "ensemble", True)


def test_a_model_that_ran_nothing_has_no_mean_batch() -> None:
    none = ModelStatistics(inference_count=0, execution_count=0, request_count=0, failed_count=0, queue_s=0.0)
    assert none.mean_batch == 0.0


counts = st.dictionaries(st.integers(1, 64), st.integers(1, 1000), max_size=5)


def statistics(executions: dict[int, int]) -> ModelStatistics:
    rows = sum(size * count for size, count in executions.items())
    total = sum(executions.values())
    batches = {
        size: BatchStatistics(
            executions=count, compute_input_s=count, compute_infer_s=2 * count, compute_output_s=3 * count
        )
        for size, count in executions.items()
    }
    return ModelStatistics(
        inference_count=rows, execution_count=total, request_count=rows, failed_count=0, queue_s=total, batches=batches
    )


@given(counts, counts)
def test_what_happened_in_between_is_what_was_added(before: dict[int, int], added: dict[int, int]) -> None:
    after = {size: before.get(size, 0) + added.get(size, 0) for size in before.keys() | added.keys()}
    assert statistics(after) - statistics(before) == statistics(added)
