"""GPUs as data: what is published is there, and what names in a cluster mean."""

from __future__ import annotations

import pytest
from factories import profile, stage_profile
from tritonclient.grpc.model_config_pb2 import ModelConfig

from kserve_ext.policy.gpu.execution import execution, with_execution
from kserve_ext.policy.gpu.kinds import Part, parse_kind
from kserve_ext.policy.gpu.memory import CONTEXT_BYTES, MARGIN, fit_memory, with_instances
from kserve_ext.policy.gpu.mig import BY_KEY, MODELS, find_model
from kserve_ext.policy.gpu.names import MigStrategy, Naming, Sharing, device_class, product_label, resource_name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.key)
def test_every_place_of_every_profile_lies_on_the_gpu_and_the_published_count_fits(model) -> None:
    for cut in model.profiles:
        assert all(start + cut.memory <= model.memory_slices for start in cut.starts)
        assert len(cut.starts) * cut.compute <= model.compute_slices
        assert cut.usable_gib is None or cut.usable_gib < model.memory_gib


@pytest.mark.parametrize(
    ("key", "name", "most", "usable_gib", "sms"),
    [
        ("a30", "2g.12gb", 2, 11.4, 28), ("a100-40gb", "1g.10gb", 4, 9.6, 14), ("a100-80gb", "1g.10gb", 7, 9.5, 14),
        ("h100-80gb", "3g.40gb", 2, 39.5, 60), ("h200", "4g.71gb", 1, 69.5, 64), ("b200", "2g.45gb", 3, 44.25, 36),
    ],
)  # fmt: skip
def test_profiles_have_the_published_size_and_count(
    key: str, name: str, most: int, usable_gib: float, sms: int
) -> None:
    cut = BY_KEY[key].by_name[name]
    assert (len(cut.starts), cut.usable_gib, cut.sms) == (most, usable_gib, sms)


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("NVIDIA-A100-SXM4-80GB", "a100-80gb"), ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "a100-40gb"),
        ("NVIDIA-H100-80GB-HBM3", "h100-80gb"), ("NVIDIA-H100-NVL", "h100-94gb"), ("Tesla-T4-SHARED", "t4"),
        ("nvidia-l4", "l4"), ("NVIDIA-L40S", "l40s"), ("NVIDIA-L4", "l4"),
    ],
)  # fmt: skip
def test_a_gpu_is_known_by_its_node_label(label: str, key: str) -> None:
    found = find_model(label)
    assert found is not None
    assert found.key == key


def test_an_unknown_label_is_no_gpu() -> None:
    assert find_model("NVIDIA-Voodoo-2") is None


@pytest.mark.parametrize(
    ("name", "part", "gpu", "cut"),
    [
        ("cpu", Part.CPU, "", ""), ("gpu", Part.WHOLE, "", ""), ("nvidia.com/gpu", Part.WHOLE, "", ""),
        ("a100", Part.WHOLE, "a100", ""), ("mig-1g.10gb", Part.SLICE, "", "1g.10gb"),
        ("a100-80gb-3g.40gb", Part.SLICE, "a100-80gb", "3g.40gb"), ("h100-1g.10gb+me", Part.SLICE, "h100", "1g.10gb+me"),
        ("l4-shared", Part.SHARE, "l4", ""), ("gpu-shared", Part.SHARE, "", ""),
    ],
)  # fmt: skip
def test_a_hardware_kind_is_taken_apart(name: str, part: Part, gpu: str, cut: str) -> None:
    kind = parse_kind(name)
    assert (kind.part, kind.gpu, kind.profile) == (part, gpu, cut)


def test_a_family_stands_for_all_its_gpus_that_have_the_slice() -> None:
    kind = parse_kind("a100-1g.5gb")
    assert [model.key for model in MODELS if kind.is_on(model)] == ["a100-40gb"]


@pytest.mark.parametrize(
    ("part", "naming", "name"),
    [
        ("gpu", Naming(), "nvidia.com/gpu"),
        ("1g.10gb", Naming(), "nvidia.com/mig-1g.10gb"),
        ("1g.10gb+me", Naming(), "nvidia.com/mig-1g.10gb.me"),
        ("1g.10gb", Naming(strategy=MigStrategy.SINGLE), "nvidia.com/gpu"),
        ("shared", Naming(sharing=Sharing.TIME_SLICING), "nvidia.com/gpu.shared"),
        ("shared", Naming(sharing=Sharing.MPS, rename_by_default=False), "nvidia.com/gpu"),
        ("1g.10gb", Naming(renamed={"nvidia.com/mig-1g.10gb": "example.com/small"}), "example.com/small"),
        ("1g.10gb", Naming(dra=True), "nvidia.com/mig-1g.10gb"),
    ],
)
def test_a_part_is_asked_for_by_the_name_that_the_cluster_gives_it(part: str, naming: Naming, name: str) -> None:
    assert resource_name(part, naming) == name


def test_a_slice_of_strategy_single_is_told_by_the_product_label() -> None:
    naming = Naming(strategy=MigStrategy.SINGLE)
    assert product_label("A100-SXM4-40GB", "1g.5gb", naming) == {"nvidia.com/gpu.product": "A100-SXM4-40GB-MIG-1g.5gb"}


def test_a_device_class_gives_a_dra_slice_the_name_that_the_device_plugin_uses() -> None:
    found = device_class("1g.10gb")
    assert found["spec"]["extendedResourceName"] == "nvidia.com/mig-1g.10gb"
    assert "profile == '1g.10gb'" in found["spec"]["selectors"][0]["cel"]["expression"]


def test_instances_fit_a_slice_with_context_and_margin_and_one_more_would_not() -> None:
    peak = 80e6
    usable = 10 * (peak) / (1 - MARGIN) + CONTEXT_BYTES / (1 - MARGIN)
    many = profile(stage_profile(instances=12))
    assert fit_memory(many, usable + 1, kind="slice").instances == 10
    assert fit_memory(many, usable - 1, kind="slice").instances == 9


def test_what_was_not_measured_is_not_proven_and_gets_one_instance() -> None:
    fit = fit_memory(profile(stage_profile(instances=4)), None, kind="slice")
    assert (fit.instances, fit.proven) == (1, False)


def test_a_model_larger_than_the_slice_does_not_fit() -> None:
    assert fit_memory(profile(), CONTEXT_BYTES, kind="slice").instances == 0


def test_a_profile_can_be_cut_to_fewer_instances() -> None:
    cut = with_instances(profile(stage_profile(instances=4)), 2)
    assert {point.instances for point in cut.stages[0].points} == {1, 2}


def test_the_memory_limit_of_all_instances_stays_within_the_slice() -> None:
    settings = execution(10 * 2**30, 4)
    assert 4 * int(settings.parameters["gpu_mem_limit"]) <= 10 * 2**30 * (1 - MARGIN) - CONTEXT_BYTES
    assert dict(settings.accelerators)["cuda"]["enable_cuda_graph"] == "0"


def test_tensorrt_comes_first_with_its_engine_cache_and_the_cpu_fallback_is_said() -> None:
    settings = execution(10 * 2**30, 2, tensorrt=True, cache="/engines")
    config = with_execution(ModelConfig(name="m", backend="onnxruntime"), settings)
    entries = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert [entry.name for entry in entries] == ["tensorrt", "cuda"]
    assert entries[0].parameters["trt_engine_cache_path"] == "/engines"
    assert any("tensorrt then cuda then cpu" in note.text for note in settings.notes)


def test_what_the_author_of_a_config_chose_stays() -> None:
    config = ModelConfig(name="m")
    config.parameters["gpu_mem_limit"].string_value = "7"
    config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="own")
    new = with_execution(config, execution(10 * 2**30, 2))
    assert new.parameters["gpu_mem_limit"].string_value == "7"
    assert [entry.name for entry in new.optimization.execution_accelerators.gpu_execution_accelerator] == ["own"]
