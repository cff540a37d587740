"""config.pbtxt to and from Triton's message, and the changes a plan makes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig

from kserve_ext.errors import ModelError
from kserve_ext.render.pbtxt import (
    backend,
    format_config,
    is_ensemble,
    on_python_backend,
    parse_config,
    steps,
    untuned_config,
    with_batching,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DIMS = st.lists(st.integers(-1, 512), max_size=3)


@st.composite
def configs(draw: st.DrawFn) -> Any:
    """Plain ONNX models with all kinds of things set by hand."""
    config = ModelConfig(name=draw(NAMES), max_batch_size=draw(st.integers(1, 256)))
    if draw(st.booleans()):
        config.backend = "onnxruntime"
    else:
        config.platform = "onnxruntime_onnx"
    config.default_model_filename = draw(st.sampled_from(["", "a.onnx"]))
    for tensors in (config.input, config.output):
        for name in draw(st.lists(NAMES, max_size=2)):
            tensors.add(name=name, data_type=draw(st.integers(0, 14)), dims=draw(DIMS))
    for count in draw(st.lists(st.integers(0, 4), max_size=3)):
        config.instance_group.add(count=count, kind=draw(st.integers(0, 3)), gpus=draw(st.lists(st.integers(0, 3))))
    for key, value in draw(st.dictionaries(NAMES, NAMES, max_size=2)).items():
        config.parameters[key].string_value = value
    if draw(st.booleans()):
        batching = config.dynamic_batching
        batching.preferred_batch_size.extend(draw(st.lists(st.integers(1, 8), max_size=2)))
        batching.max_queue_delay_microseconds = draw(st.integers(0, 10**6))
        batching.default_queue_policy.max_queue_size = draw(st.integers(0, 100))
        batching.priority_levels = draw(st.integers(0, 2))
        batching.preserve_ordering = draw(st.booleans())
    if draw(st.booleans()):
        config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    config.version_policy.latest.num_versions = draw(st.integers(0, 3))
    return config


DELAYS = st.none() | st.floats(0, 1)


@given(configs())
def test_a_config_survives_being_written_and_read(config: Any) -> None:
    text = format_config(config)
    assert parse_config(text) == config
    assert format_config(parse_config(text)) == text


@given(configs(), st.integers(1, 256), DELAYS, st.integers(1, 8))
def test_no_batching_brings_a_queue_policy_priorities_or_preferred_sizes(
    config: Any, batch: int, delay_s: float | None, instances: int
) -> None:
    planned = with_batching(config, max_batch_size=batch, max_queue_delay_s=delay_s, instances=instances)
    text = format_config(planned)
    assert not re.search("queue_policy|preferred_batch_size|priority_level", text)
    assert ("dynamic_batching" in text) == (delay_s is not None)
    assert (planned.max_batch_size, sum(group.count for group in planned.instance_group)) == (batch, instances)


@given(configs(), st.integers(1, 256), DELAYS, st.integers(1, 8))
def test_batching_leaves_its_argument_alone_and_does_nothing_twice(
    config: Any, batch: int, delay_s: float | None, instances: int
) -> None:
    before = format_config(config)
    once = with_batching(config, max_batch_size=batch, max_queue_delay_s=delay_s, instances=instances, threads=2)
    again = with_batching(once, max_batch_size=batch, max_queue_delay_s=delay_s, instances=instances, threads=2)
    assert again == once
    assert format_config(config) == before


@given(configs())
def test_the_embedded_config_differs_from_production_in_the_backend_only(config: Any) -> None:
    embedded = on_python_backend(config)
    assert backend(embedded) == "python"
    assert embedded.parameters["onnx_filename"].string_value == config.default_model_filename
    del embedded.parameters["onnx_filename"]
    kept = ModelConfig()
    kept.CopyFrom(config)
    for field in ("backend", "platform", "optimization", "default_model_filename"):
        embedded.ClearField(field)
        kept.ClearField(field)
    kept.parameters.pop("onnx_filename", None)
    assert embedded == kept


def test_a_hand_written_config_with_comments_and_lists_is_read() -> None:
    config = parse_config('# mine\ninput [ { name: "x", dims: [ 1, 2 ] }, { name: "y" } ]\nmax_batch_size: 8')
    assert [tensor.name for tensor in config.input] == ["x", "y"]
    assert config.max_batch_size == 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_batch: 8", ["m.pbtxt:1", "unknown field of ModelConfig", "found max_batch", "max_batch_size"]),
        ('name: "m"\n\ninput { nam: "x" }', ["m.pbtxt:3", "unknown field of ModelInput", "name is the nearest"]),
        ("dynamic_batching { delay: 3 }", ["unknown field of ModelDynamicBatching", "found delay"]),
        ("zzz: 1", ["unknown field of ModelConfig", "backend, batch_input"]),
        ("max_batch_size: many", ["m.pbtxt:1", "many"]),
        ("input { data_type: TYPE_FLOAT }", ["TYPE_FLOAT"]),
        ('name: "m', ["m.pbtxt:1", "quote"]),
        ("\n\ninput {", ["m.pbtxt:3"]),
    ],
)
def test_a_config_that_cannot_be_read_says_line_and_field(text: str, says: list[str]) -> None:
    with pytest.raises(ModelError) as error:
        parse_config(text, "m.pbtxt")
    for part in says:
        assert part in error.value.message


def test_dynamic_batching_without_delay_is_an_empty_message_not_an_absent_one() -> None:
    config = with_batching(parse_config("max_batch_size: 1"), max_batch_size=8, max_queue_delay_s=0.0, instances=1)
    assert "dynamic_batching {\n}\n" in format_config(config)
    assert parse_config(format_config(config)).HasField("dynamic_batching")


def test_the_queue_delay_is_written_in_microseconds() -> None:
    config = with_batching(parse_config("max_batch_size: 1"), max_batch_size=8, max_queue_delay_s=0.0015, instances=1)
    assert config.dynamic_batching.max_queue_delay_microseconds == 1500


def test_one_instance_group_stays_with_its_kind() -> None:
    base = parse_config("max_batch_size: 4 instance_group [ { kind: KIND_GPU gpus: 1 count: 3 }, { count: 2 } ]")
    config = with_batching(base, max_batch_size=4, max_queue_delay_s=None, instances=2)
    assert str(config.instance_group[0]) == "count: 2\ngpus: 1\nkind: KIND_GPU\n"
    assert len(config.instance_group) == 1


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("onnxruntime", "intra_op_thread_count"),
        ("python", "intra_op_thread_count"),
        ("pytorch", "INTRA_OP_THREAD_COUNT"),
        ("openvino", "INFERENCE_NUM_THREADS"),
    ],
)
def test_threads_go_to_the_parameter_that_the_backend_reads(name: str, parameter: str) -> None:
    base = parse_config(f'backend: "{name}" max_batch_size: 1')
    config = with_batching(base, max_batch_size=1, max_queue_delay_s=None, instances=1, threads=3)
    assert {key: value.string_value for key, value in config.parameters.items()} == {parameter: "3"}


def test_a_fixed_batch_dimension_stays_unbatched() -> None:
    base = parse_config('name: "m"')
    config = with_batching(base, max_batch_size=0, max_queue_delay_s=0.001, instances=2)
    assert not config.HasField("dynamic_batching")
    with pytest.raises(ModelError, match="fixed batch dimension"):
        with_batching(base, max_batch_size=4, max_queue_delay_s=None, instances=1)


def test_sequence_batching_is_refused() -> None:
    base = parse_config('name: "m" max_batch_size: 4 sequence_batching { }')
    with pytest.raises(ModelError, match="sequence_batching"):
        with_batching(base, max_batch_size=4, max_queue_delay_s=None, instances=1)


@pytest.mark.parametrize(("written", "untuned"), [(64, 1), (1, 1), (0, 0)])
def test_the_untuned_config_says_batch_one_instead_of_leaving_it_to_triton(written: int, untuned: int) -> None:
    base = parse_config(f"max_batch_size: {written} instance_group {{ count: 4 }}")
    if written:
        base.dynamic_batching.SetInParent()
    config = untuned_config(base)
    assert config.max_batch_size == untuned
    assert config.instance_group[0].count == 1
    assert not config.HasField("dynamic_batching")


def test_an_ensemble_has_steps_in_order_and_no_instances() -> None:
    base = parse_config(
        'name: "e" max_batch_size: 8 ensemble_scheduling { step { model_name: "b" } step { model_name: "a" } }'
    )
    assert is_ensemble(base)
    assert steps(base) == ("b", "a")
    assert steps(parse_config('name: "m"')) == ()
    config = with_batching(base, max_batch_size=2, max_queue_delay_s=0.0, instances=3)
    assert (config.max_batch_size, steps(config)) == (2, ("b", "a"))
    assert not config.instance_group
    assert on_python_backend(config) == config


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('backend: "onnxruntime"', "onnxruntime"),
        ('platform: "onnxruntime_onnx"', "onnxruntime"),
        ('default_model_filename: "m.onnx"', "onnxruntime"),
        ('platform: "tensorrt_plan"', "tensorrt"),
        ('platform: "pytorch_libtorch"', "pytorch"),
        ('platform: "ensemble"', "ensemble"),
        ('name: "m"', ""),
    ],
)
def test_the_backend_is_known_however_it_is_written(text: str, name: str) -> None:
    assert backend(parse_config(text)) == name


@pytest.mark.parametrize("text", ['backend: "tensorrt"', 'platform: "pytorch_libtorch"', 'name: "m"'])
def test_only_onnx_and_python_run_on_the_embedded_server(text: str) -> None:
    with pytest.raises(ModelError, match=r"backend: .*cannot run on the embedded server"):
        on_python_backend(parse_config(text))


def test_a_python_model_is_the_same_on_the_embedded_server() -> None:
    config = parse_config('backend: "python" default_model_filename: "serve.py"')
    assert on_python_backend(config) == config
