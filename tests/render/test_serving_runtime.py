"""Our Triton runtime, in the modes and protocols it runs in."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Mode, Protocol
from kserve_ext.render.bundle import render
from kserve_ext.render.runtime import render_cluster_runtimes, render_runtime, standard_grace_s


def container_of(runtime: dict[str, Any]) -> dict[str, Any]:
    (container,) = runtime["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def exit_timeout_s(runtime: dict[str, Any]) -> int:
    (flag,) = [arg for arg in container_of(runtime)["args"] if arg.startswith("--exit-timeout-secs=")]
    return int(flag.partition("=")[2])


@pytest.mark.parametrize(
    ("protocol", "port"),
    [
        (Protocol.REST, {"name": "http1", "containerPort": 8080, "protocol": "TCP"}),
        (Protocol.GRPC, {"name": "h2c", "containerPort": 9000, "protocol": "TCP"}),
    ],
)
def test_knative_gets_its_one_port_by_its_name(digits: Any, protocol: Protocol, port: dict[str, Any]) -> None:
    runtime = render_runtime(dataclasses.replace(digits.plan, protocol=protocol))
    assert container_of(runtime)["ports"] == [port]


@pytest.mark.parametrize(
    ("protocol", "names"), [(Protocol.REST, ["http1", "h2c", "metrics"]), (Protocol.GRPC, ["h2c", "http1", "metrics"])]
)
def test_standard_mode_declares_every_port_the_service_s_own_first(
    digits: Any, protocol: Protocol, names: list[str]
) -> None:
    runtime = render_runtime(dataclasses.replace(digits.plan, protocol=protocol), mode=Mode.STANDARD)
    assert [port["name"] for port in container_of(runtime)["ports"]] == names
    assert runtime["spec"]["protocolVersions"] == ["v2", "grpc-v2"]


@pytest.mark.parametrize("protocol", list(Protocol))
def test_knative_probes_leave_its_fast_probing_on_and_do_not_make_the_kubelet_wait(
    digits: Any, protocol: Protocol
) -> None:
    container = container_of(render_runtime(dataclasses.replace(digits.plan, protocol=protocol)))
    assert "startupProbe" not in container
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert container["readinessProbe"]["periodSeconds"] == 1


def test_knative_sends_liveness_to_the_only_port_so_grpc_is_asked_over_grpc(embed: Any, digits: Any) -> None:
    grpc, rest = container_of(render_runtime(embed.plan)), container_of(render_runtime(digits.plan))
    assert grpc["livenessProbe"]["grpc"] == {"port": 9000}
    assert rest["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": 8080}


@pytest.mark.parametrize("mode", list(Mode))
def test_liveness_does_not_speak_while_models_load(digits: Any, mode: Mode) -> None:
    container = container_of(render_runtime(digits.plan, mode=mode))
    startup = container.get("startupProbe", {"periodSeconds": 0, "failureThreshold": 0})
    silent_s = startup["periodSeconds"] * startup["failureThreshold"]
    assert silent_s + container["livenessProbe"].get("initialDelaySeconds", 0) == 600


@given(timeout_s=st.floats(2, 3600))
def test_triton_ends_before_the_pod_is_killed(make_digits: Any, timeout_s: float) -> None:
    plan = dataclasses.replace(make_digits().plan, timeout_s=timeout_s)
    knative = exit_timeout_s(render_runtime(plan))
    assert 1 <= knative < timeout_s
    assert knative + 30 < timeout_s or knative == 1  # 30 s: queue-proxy's quiet time runs in the same grace period
    standard = render_runtime(plan, mode=Mode.STANDARD)
    pre_stop_s = container_of(standard)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert (
        timeout_s <= exit_timeout_s(standard) + 1 < exit_timeout_s(standard) + pre_stop_s < standard_grace_s(timeout_s)
    )


def test_triton_keeps_within_a_grace_period_by_hand(digits: Any) -> None:
    case = digits.with_manifest(
        lambda manifest: (
            manifest["metadata"]["annotations"].update({"serving.kserve.io/deploymentMode": "Standard"}),
            manifest["spec"]["predictor"].update(terminationGracePeriodSeconds=25),
        )
    )
    runtime = yaml.safe_load(render(case.service, case.plan, case.configs).files["servingruntime.yaml"])
    assert exit_timeout_s(runtime) == 25 - 5 - 5  # the hook, and a margin


def test_knative_refuses_lifecycle_hooks_so_none_is_there(digits: Any) -> None:
    assert "lifecycle" not in container_of(render_runtime(digits.plan))


@pytest.mark.parametrize("runtime", render_cluster_runtimes(), ids=lambda runtime: str(runtime["metadata"]["name"]))
def test_every_container_passes_the_restricted_pod_security_standard(runtime: dict[str, Any]) -> None:
    container = container_of(runtime)
    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/dev/shm", "/tmp"}
    assert all(set(volume) == {"name", "emptyDir"} for volume in runtime["spec"]["volumes"])


def test_shared_memory_and_threads_are_the_plan_s(digits: Any) -> None:
    runtime = render_runtime(digits.plan)
    assert runtime["spec"]["volumes"][0]["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Mi"}
    assert container_of(runtime)["env"] == [
        {"name": "OMP_NUM_THREADS", "value": "2"},
        {"name": "RAYON_NUM_THREADS", "value": "2"},
        {"name": "GLIBC_TUNABLES", "value": "glibc.malloc.hugetlb=1"},
    ]


def test_no_runtime_is_chosen_for_a_service_that_does_not_name_it() -> None:
    for runtime in render_cluster_runtimes():
        assert not any(known["autoSelect"] for known in runtime["spec"]["supportedModelFormats"])
        assert "serving.kserve.io/server-type" not in runtime["metadata"].get("annotations", {})


def test_a_cluster_runtime_has_a_core_for_its_one_thread() -> None:
    for runtime in render_cluster_runtimes():
        container = container_of(runtime)
        assert container["resources"]["limits"]["cpu"] == container["env"][0]["value"] == "1"


def test_the_image_is_pinned_and_can_be_another(digits: Any) -> None:
    name, _, tag = container_of(render_runtime(digits.plan))["image"].rpartition(":")
    assert (name, tag.endswith("-py3")) == ("nvcr.io/nvidia/tritonserver", True)
    assert container_of(render_runtime(digits.plan, image="local/triton:1"))["image"] == "local/triton:1"
