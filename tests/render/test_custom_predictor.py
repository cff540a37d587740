"""A plan for a custom predictor: the same numbers, as environment variables that its server reads back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.bundles import bundle_for
from kserve_ext.domain import Mode, Protocol
from kserve_ext.errors import ManifestError
from kserve_ext.render.bundle import render
from kserve_ext.render.environment import planned_environment
from kserve_ext.render.inferenceservice import render_inferenceservice
from kserve_ext.render.predictor_runtime import PREDICTOR_RUNTIMES, is_custom, render_predictor_runtimes
from kserve_ext.render.runtime import standard_grace_s
from kserve_ext.serving.settings import Settings

MODE = "serving.kserve.io/deploymentMode"
RUNTIMES = {runtime["metadata"]["name"]: runtime for runtime in render_predictor_runtimes()}


def containers(manifest: dict[str, Any]) -> None:
    main = {"name": "kserve-container", "image": "p:1", "env": [{"name": "KSERVE_EXT_THREADS", "value": "3"}]}
    manifest["spec"]["predictor"] = {"containers": [{"name": "side", "image": "s:1"}, main]}


def runtime(manifest: dict[str, Any]) -> None:
    manifest["spec"]["predictor"]["model"].update(runtime="kserve-ext-predictor", image="p:1")


def predictor_of(case: Any) -> dict[str, Any]:
    rendered: dict[str, Any] = render_inferenceservice(case.service, case.plan)["spec"]["predictor"]
    return rendered


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


@pytest.mark.parametrize("mode", list(Mode))
@given(
    batch=st.integers(0, 256), delay_s=st.floats(0, 1), instances=st.integers(1, 8), threads=st.integers(1, 64),
    limit=st.integers(1, 1000), timeout_s=st.floats(1, 600),
)  # fmt: skip
def test_the_server_reads_the_plan_s_numbers_back(
    make_digits: Any, mode: Mode, batch: int, delay_s: float, instances: int, threads: int, limit: int, timeout_s: float
) -> None:
    plan = make_digits().plan
    stage = dataclasses.replace(
        plan.stages[0], max_batch_size=batch, max_queue_delay_s=delay_s, instances=instances, threads=threads
    )
    plan = dataclasses.replace(plan, stages=(stage,), concurrency_limit=limit, timeout_s=timeout_s)
    environment = planned_environment(plan, mode)
    read = Settings.read(environment)
    assert (read.max_batch_size, read.instances, read.threads, read.limit) == (batch, instances, threads, limit)
    assert read.max_queue_delay_s == pytest.approx(delay_s, abs=1e-6)
    assert read.timeout_s == pytest.approx(timeout_s, abs=1e-6)
    killed_s = standard_grace_s(timeout_s) if mode is Mode.STANDARD else max(timeout_s, 30)
    assert read.drain_delay_s < read.grace_period_s < killed_s
    assert environment["OMP_NUM_THREADS"] == str(threads)


def test_a_container_of_the_user_s_own_gets_scaling_resources_and_the_plan_s_numbers(digits: Any) -> None:
    predictor = predictor_of(digits.with_manifest(containers))
    side, main = predictor["containers"]
    assert side == {"name": "side", "image": "s:1"}
    assert set(main) == {"name", "image", "env", "resources"}
    assert variables(main)["KSERVE_EXT_MAX_BATCH_SIZE"] == "32"
    assert variables(main)["KSERVE_EXT_THREADS"] == "3"  # as written by hand, not the plan's 2
    assert predictor["containerConcurrency"] == 64
    assert "model" not in predictor


@pytest.mark.parametrize("name", PREDICTOR_RUNTIMES)
@pytest.mark.parametrize(
    ("protocol", "mode", "chosen"),
    [
        (Protocol.REST, "Knative", "kserve-ext-predictor"),
        (Protocol.GRPC, "Knative", "kserve-ext-predictor-grpc"),
        (Protocol.REST, "Standard", "kserve-ext-predictor-standard"),
        (Protocol.GRPC, "Standard", "kserve-ext-predictor-standard"),
    ],
)
def test_of_our_runtimes_the_one_for_protocol_and_mode_is_named(
    digits: Any, name: str, protocol: Protocol, mode: str, chosen: str
) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["spec"]["predictor"]["model"].update(runtime=name, image="p:1")
        manifest["metadata"]["annotations"][MODE] = mode

    case = digits.with_manifest(edit)
    case = dataclasses.replace(case, plan=dataclasses.replace(case.plan, protocol=protocol))
    model = predictor_of(case)["model"]
    assert (model["runtime"], model["image"]) == (chosen, "p:1")
    assert "args" not in model  # Triton's --model-config-name would be refused
    assert variables(model)["KSERVE_EXT_CONCURRENCY_LIMIT"] == "64"
    assert model["protocolVersion"] in RUNTIMES[chosen]["spec"]["protocolVersions"]


@pytest.mark.parametrize("edit", [containers, runtime])
def test_rendering_again_changes_nothing(digits: Any, edit: Callable[[dict[str, Any]], None]) -> None:
    case = digits.with_manifest(edit)
    once = render_inferenceservice(case.service, case.plan)
    again = render_inferenceservice(dataclasses.replace(case.service, manifest=once), case.plan)
    assert again == once


@pytest.mark.parametrize("edit", [containers, runtime])
def test_the_bundle_of_a_custom_predictor_has_no_triton_in_it(
    digits: Any, crd: Callable[[str], dict[str, Any]], tmp_path: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    case = digits.with_manifest(edit)
    bundle = bundle_for(case.service, case.plan, tmp_path)  # an empty model repository
    assert set(bundle.files) == {"inferenceservice.yaml", "plan.yaml", "kustomization.yaml"}
    manifest = yaml.safe_load(bundle.files["inferenceservice.yaml"])
    jsonschema.Draft7Validator(crd("inferenceservices")).validate(manifest)
    assert is_custom(manifest)


@pytest.mark.parametrize("edit", [containers, runtime])
def test_the_plan_of_an_ensemble_is_refused_with_what_to_do(embed: Any, edit: Callable[[dict[str, Any]], None]) -> None:
    case = embed.with_manifest(edit)
    with pytest.raises(ManifestError, match="embed-tokenizer, embed-encoder") as refused:
        render(case.service, case.plan, case.configs)
    assert "kserve-ext package" in refused.value.remedy


@pytest.mark.parametrize("name", PREDICTOR_RUNTIMES)
def test_a_predictor_s_runtime_is_restricted_and_leaves_the_entry_point_to_the_image(name: str) -> None:
    (container,) = RUNTIMES[name]["spec"]["containers"]
    assert "command" not in container
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp"}
    assert "lifecycle" not in container
    assert ("startupProbe" in container) == name.endswith("-standard")


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("kserve-ext-predictor", [8080]),
        ("kserve-ext-predictor-grpc", [9000]),
        ("kserve-ext-predictor-standard", [8080, 9000]),
    ],
)
def test_a_predictor_listens_where_its_runtime_says(name: str, ports: list[int]) -> None:
    (container,) = RUNTIMES[name]["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == ports
    assert {"--http_port=8080", "--grpc_port=9000", "--model_name={{.Name}}"} <= set(container["args"])
