"""The production config: the user's own, with the plan in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import StagePlan
from kserve_ext.render.pbtxt import backend, format_config, on_python_backend, parse_config
from kserve_ext.render.planned import notes, planned_config, planned_ensemble

ONNX = 'name: "m" backend: "onnxruntime" max_batch_size: 64 input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }'


def stage_of(batch: int = 8, *, delay_s: float = 0.0, instances: int = 2, threads: int = 1) -> StagePlan:
    return StagePlan(model="m", max_batch_size=batch, max_queue_delay_s=delay_s, instances=instances, threads=threads)


STAGES = st.builds(
    stage_of, st.integers(1, 64), delay_s=st.floats(0, 0.1), instances=st.integers(1, 8), threads=st.integers(1, 16)
)


@given(STAGES, st.integers(0, 3))
def test_planning_again_from_a_planned_config_gives_the_new_plan_alone(stage: StagePlan, accelerators: int) -> None:
    base = parse_config(ONNX)
    first = planned_config(base, stage_of(32, instances=3), accelerators=accelerators)
    assert planned_config(first, stage, accelerators=accelerators) == planned_config(
        base, stage, accelerators=accelerators
    )


@given(STAGES, st.integers(0, 8))
def test_all_instances_of_the_plan_are_there_whatever_the_accelerators(stage: StagePlan, accelerators: int) -> None:
    config = planned_config(parse_config(ONNX), stage, accelerators=accelerators)
    assert sum(group.count for group in config.instance_group) == stage.instances
    assert all(group.count for group in config.instance_group)


@given(STAGES)
def test_production_and_embedded_keep_in_step(stage: StagePlan) -> None:
    production = planned_config(parse_config(ONNX), stage)
    embedded = on_python_backend(production)
    assert (backend(production), backend(embedded)) == ("onnxruntime", "python")
    embedded.backend = production.backend
    assert embedded == production


@pytest.mark.parametrize(
    ("written", "accelerators", "groups"),
    [
        ("", 0, ["count: 3\nkind: KIND_CPU\n"]),
        ("instance_group { kind: KIND_GPU gpus: 0 }", 0, ["count: 3\nkind: KIND_CPU\n"]),
        ("instance_group { kind: KIND_MODEL }", 0, ["count: 3\nkind: KIND_MODEL\n"]),
        ("", 1, ["count: 3\nkind: KIND_GPU\n"]),
        ("instance_group { kind: KIND_CPU }", 1, ["count: 3\nkind: KIND_CPU\n"]),
        ("", 2, ["count: 2\ngpus: 0\nkind: KIND_GPU\n", "count: 1\ngpus: 1\nkind: KIND_GPU\n"]),
    ],
    ids=["cpu", "gpu-without-one", "model", "gpu", "cpu-step-beside-a-gpu", "two-gpus"],
)
def test_instances_go_where_the_replica_has_something_to_run_them(
    written: str, accelerators: int, groups: list[str]
) -> None:
    config = planned_config(parse_config(f"{ONNX} {written}"), stage_of(instances=3), accelerators=accelerators)
    assert [str(group) for group in config.instance_group] == groups


def test_batch_one_has_no_dynamic_batcher() -> None:
    assert not planned_config(parse_config(ONNX), stage_of(1, delay_s=0.001)).HasField("dynamic_batching")


def test_a_fixed_batch_model_keeps_zero() -> None:
    base = parse_config('name: "m" backend: "onnxruntime" input { name: "x" data_type: TYPE_FP32 dims: [ 1, 4 ] }')
    config = planned_config(base, stage_of(0))
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert [sample.batch_size for sample in config.model_warmup] == [1]


def test_the_smallest_and_the_largest_batch_are_warm_before_the_model_is_ready() -> None:
    samples = planned_config(parse_config(ONNX), stage_of(8)).model_warmup
    assert [(sample.name, sample.batch_size) for sample in samples] == [("planned-batch-1", 1), ("planned-batch-8", 8)]
    assert str(samples[0].inputs["x"]) == "data_type: TYPE_FP32\ndims: 4\nzero_data: true\n"


@pytest.mark.parametrize(
    ("tensors", "because"),
    [
        ('input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] }', "input x has dimensions of no fixed size"),
        ('input { name: "t" data_type: TYPE_STRING dims: [ 1 ] }', "input t is text"),
        ("", "the config names no inputs"),
    ],
)
def test_a_warm_up_that_could_fail_is_left_out_and_said(tensors: str, because: str) -> None:
    base = parse_config(f'backend: "onnxruntime" max_batch_size: 8 {tensors}')
    assert not planned_config(base, stage_of()).model_warmup
    (note,) = notes(base, stage_of())
    assert (note.field, note.code) == ("m.model_warmup", "no-warm-up")
    assert because in note.text


def test_a_program_is_not_warmed_up_with_made_up_input() -> None:
    base = parse_config(ONNX.replace("onnxruntime", "python"))
    assert not planned_config(base, stage_of()).model_warmup


def test_optional_inputs_are_left_out_of_the_warm_up() -> None:
    base = parse_config(f'{ONNX} input {{ name: "o" data_type: TYPE_FP32 dims: [ -1 ] optional: true }}')
    assert [list(sample.inputs) for sample in planned_config(base, stage_of()).model_warmup] == [["x"], ["x"]]


def test_the_user_s_own_warm_up_stays_alone() -> None:
    base = parse_config(f'{ONNX} model_warmup {{ name: "mine" batch_size: 3 }}')
    assert [sample.name for sample in planned_config(base, stage_of()).model_warmup] == ["mine"]
    assert notes(base, stage_of()) == ()


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ("preferred_batch_size: [ 4 ]", "preferred_batch_size"),
        ("default_queue_policy { }", "default_queue_policy"),
        ("priority_queue_policy { key: 1 value { max_queue_size: 3 } }", "priority_queue_policy"),
        ("priority_levels: 2", "priority_levels"),
    ],
)
def test_what_would_undo_the_plan_is_left_out_and_said(written: str, field: str) -> None:
    base = parse_config(f"{ONNX} dynamic_batching {{ {written} }}")
    assert field not in format_config(planned_config(base, stage_of()))
    (note,) = notes(base, stage_of())
    assert (note.field, note.code) == (f"m.dynamic_batching.{field}", "batching-field-left-out")


def test_other_fields_of_the_user_stay() -> None:
    base = parse_config(
        f"{ONNX} optimization {{ graph {{ level: 1 }} }} response_cache {{ enable: true }} "
        'parameters { key: "execution_mode" value { string_value: "1" } } dynamic_batching { preserve_ordering: true }'
    )
    config = planned_config(base, stage_of(threads=3))
    assert config.optimization == base.optimization
    assert config.response_cache.enable
    assert config.dynamic_batching.preserve_ordering
    read = {key: value.string_value for key, value in config.parameters.items()}
    assert read == {"execution_mode": "1", "intra_op_thread_count": "3"}


@pytest.mark.parametrize(
    ("written", "steps", "batch"), [(32, (16, 4), 4), (2, (16, 4), 4), (0, (16, 4), 0), (8, (4, 0), 4), (8, (0, 0), 8)]
)
def test_an_ensemble_takes_what_its_smallest_step_takes(written: int, steps: tuple[int, ...], batch: int) -> None:
    base = parse_config(f'name: "e" max_batch_size: {written} ensemble_scheduling {{ step {{ model_name: "m" }} }}')
    config: Any = planned_ensemble(base, [stage_of(step) for step in steps])
    assert config.max_batch_size == batch
    assert not config.instance_group
