from __future__ import annotations

import pytest

from kserve_ext.domain import Pins
from kserve_ext.errors import ManifestError
from kserve_ext.intent import read_services

MODEL = "    model:\n      modelFormat: {name: triton}\n      storageUri: pvc://models/digits\n"
LEGACY = ("    model:\n      modelFormat: {name: triton}\n", "    triton:\n")
CUSTOM = """\
    containers:
      - name: sidecar
        resources: {limits: {cpu: 7}}
      - name: kserve-container
        image: mine
        resources: {limits: {cpu: 3}}
"""


def pins_of(text: str) -> Pins:
    (service,) = read_services(text, "m.yaml")
    return service.intent.pins


def problems_of(text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(ManifestError) as caught:
        read_services(text, "m.yaml")
    return [(problem.line, problem.field) for problem in caught.value.problems]


def with_model(digits: str, resources: str) -> str:
    return digits + f"      resources: {resources}\n"


def test_the_fields_of_the_predictor_are_kept(digits: str) -> None:
    text = digits + (
        "    containerConcurrency: 8\n    minReplicas: 0\n    maxReplicas: 4\n"
        "    scaleTarget: 6\n    scaleMetric: concurrency\n    timeout: 30\n"
    )
    assert pins_of(text) == Pins(
        container_concurrency=8,
        min_replicas=0,
        max_replicas=4,
        scale_target=6,
        scale_metric="concurrency",
        timeout_s=30,
    )


def test_max_replicas_0_is_no_limit_as_in_kserve(digits: str) -> None:
    assert pins_of(digits + "    minReplicas: 2\n    maxReplicas: 0\n") == Pins(min_replicas=2)


def test_limits_count_before_requests_and_whole_devices_are_accelerators(digits: str) -> None:
    resources = (
        "{requests: {cpu: 1, memory: 1Gi, nvidia.com/gpu: 0}, limits: {cpu: 1500m, nvidia.com/mig-1g.10gb: '2'}}"
    )
    assert pins_of(with_model(digits, resources)) == Pins(
        cpu_cores=1.5, memory_bytes=2**30, accelerators={"nvidia.com/mig-1g.10gb": 2}
    )


@pytest.mark.parametrize(
    ("text", "cores"),
    [("1e3", 1000.0), ("'2'", 2.0), ("0.5", 0.5), ("250m", 0.25)],
)
def test_quantities_are_read_as_kubernetes_reads_them(digits: str, text: str, cores: float) -> None:
    assert pins_of(with_model(digits, f"{{limits: {{cpu: {text}}}}}")).cpu_cores == cores


def test_the_old_triton_key_is_read_like_model(digits: str) -> None:
    text = with_model(digits.replace(*LEGACY).replace("models/digits", "models/old"), "{limits: {cpu: 2}}")
    (service,) = read_services(text, "m.yaml")
    assert (service.intent.model, service.intent.pins.cpu_cores) == ("old", 2.0)


def test_a_custom_predictor_is_read_by_its_main_container(digits: str) -> None:
    head = digits.split("    model:\n")[0]
    assert pins_of(head + CUSTOM).cpu_cores == 3.0
    assert pins_of(head + CUSTOM.replace("kserve-container", "other")).cpu_cores == 7.0


def test_containers_beside_a_model_are_sidecars(digits: str) -> None:
    assert pins_of(with_model(digits, "{limits: {cpu: 2}}") + CUSTOM).cpu_cores == 2.0


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ("    containerConcurrency: true\n", "containerConcurrency"),
        ("    containerConcurrency: -1\n", "containerConcurrency"),
        ('    minReplicas: "2"\n', "minReplicas"),
        ("    maxReplicas: 99999999999\n", "maxReplicas"),
        ("    minReplicas: 3\n    maxReplicas: 2\n", "maxReplicas"),
        ("    scaleTarget: 0\n", "scaleTarget"),
        ("    scaleTarget: 1.5\n", "scaleTarget"),
        ("    scaleMetric: latency\n", "scaleMetric"),
        ("    scaleMetric: [rps]\n", "scaleMetric"),
        ("    timeout: 60s\n", "timeout"),
        ("    annotations: {autoscaling.knative.dev/target: 5}\n", "annotations[autoscaling.knative.dev/target]"),
        ("    annotations: [a]\n", "annotations"),
    ],
)
def test_a_field_of_the_wrong_type_is_told_with_its_place(digits: str, lines: str, field: str) -> None:
    assert problems_of(digits + lines) == [(12 + lines.count("\n"), f"spec.predictor.{field}")]


@pytest.mark.parametrize(
    ("resources", "field"),
    [
        ("5", "resources"),
        ("{limits: [cpu]}", "resources.limits"),
        ("{limits: {cpu: many}}", "resources.limits.cpu"),
        ("{limits: {cpu: true}}", "resources.limits.cpu"),
        ("{limits: {cpu: 0}}", "resources.limits.cpu"),
        ("{requests: {memory: -1Gi}}", "resources.requests.memory"),
        ("{requests: {memory: 1e9999999}}", "resources.requests.memory"),
        ("{limits: {nvidia.com/gpu: 0.5}}", "resources.limits[nvidia.com/gpu]"),
        ("{limits: {nvidia.com/gpu: one}}", "resources.limits[nvidia.com/gpu]"),
    ],
)
def test_a_resource_that_is_no_quantity_is_told_with_its_place(digits: str, resources: str, field: str) -> None:
    assert problems_of(with_model(digits, resources)) == [(13, f"spec.predictor.model.{field}")]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("    model:\n", "    sklearn:\n", "sklearn"),
        ("    model:\n", "    triton: {}\n    model:\n", ""),
        ("    model:\n", "    other:\n", ""),
        (MODEL, "    model: triton\n", "model"),
        (MODEL, "    containers: [x]\n", "containers[0]"),
        ("pvc://models/digits", "5", "model.storageUri"),
    ],
)
def test_a_predictor_that_is_not_one_triton_model_is_refused(digits: str, old: str, new: str, field: str) -> None:
    assert [place for _, place in problems_of(digits.replace(old, new))] == [
        ".".join(filter(None, ["spec.predictor", field]))
    ]


@pytest.mark.parametrize("spec", ["spec: {}\n", "spec: []\n", "spec: {predictor: 5}\n", "other: 1\n"])
def test_a_service_without_a_predictor_is_refused(digits: str, spec: str) -> None:
    assert problems_of(digits.split("spec:\n")[0] + spec)
