"""What the cluster is made of: pinned versions, objects in order, images from the project's files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import binaries, full, user_images
from e2e.cluster.kind import Kind
from e2e.cluster.parts import knative, monitoring
from e2e.cluster.parts.objects import containers, definitions_apart, fitted, read, with_data, write
from e2e.cluster.settings import PROJECT, Settings
from e2e.cluster.work import Workshop


def deployment(**container: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "main", "image": "ko://a/cmd/x", **container}]}}
    return {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 3, "template": template}}


def test_the_module_graph_pins_the_versions_of_the_settings() -> None:
    text = (binaries.GRAPH / "go.mod").read_text()
    assert [name for name, version in binaries.versions(Settings()).items() if f"{name} {version}" not in text] == []


def test_every_edited_module_is_built_from_its_copy() -> None:
    text = (binaries.GRAPH / "go.mod").read_text()
    for module, edited in binaries.EDITED.items():
        assert f"replace {module} => ./{edited.folder}" in text


def test_objects_are_written_in_an_order_that_can_be_applied(tmp_path: Path) -> None:
    kinds = ("Deployment", "ConfigMap", "Namespace", "ServiceAccount")
    objects = [{"kind": kind, "metadata": {"name": "x"}} for kind in kinds]
    first, rest = definitions_apart(objects)
    write(tmp_path / "x.yaml", rest)
    assert [one["kind"] for one in first] == ["Namespace"]
    assert [one["kind"] for one in read(tmp_path / "x.yaml")] == ["ServiceAccount", "ConfigMap", "Deployment"]


def test_an_object_that_is_linked_into_two_folders_is_read_once(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump({"kind": "ConfigMap", "metadata": {"name": "x"}, "from": name}))
    assert [one["from"] for one in read(tmp_path)] == ["a.yaml"]


def test_components_are_fitted_to_a_small_machine() -> None:
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}}
    (fits,) = fitted([deployment(resources={"requests": {"cpu": "2"}}, readinessProbe={}), scaler], lambda c: "local:1")
    (container,) = containers(fits)
    assert fits["spec"]["replicas"] == 1
    assert container["image"] == "local:1"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["resources"]["requests"]["cpu"] == "10m"


@pytest.mark.parametrize(
    ("name", "program", "lines"),
    [
        ("keda", "keda-adapter", ["FROM scratch", "USER 65532:65532", 'ENTRYPOINT ["/usr/local/bin/keda-adapter"]']),
        ("kube-router", "kube-router", ["FROM kind.local/base:1", "USER root"]),
    ],
)
def test_an_add_on_s_image_holds_its_program_and_what_that_calls(name: str, program: str, lines: list[str]) -> None:
    made = list(full._dockerfile(full.ADDONS[name], program))
    assert set(lines) <= set(made)
    assert any("ipset" in line for line in made) == (name == "kube-router")


def test_settings_reach_the_config_maps_by_name() -> None:
    maps = [
        {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"_example": ""}} for name in ("config-features", "x")
    ]
    features, other = with_data(maps, knative.config(Settings()))
    assert features["data"]["kubernetes.podspec-nodeselector"] == "enabled"
    assert other["data"] == {"_example": ""}


@pytest.mark.parametrize(("source", "asked"), [("from-source", False), ("prebuilt", True)])
def test_registries_are_asked_for_digests_only_where_they_can_be_reached(source: str, asked: bool) -> None:
    data = knative.config(Settings(source=source))["config-deployment"]
    assert ("registries-skipping-tag-resolving" not in data) == asked


def test_prometheus_scrapes_what_is_promised() -> None:
    (config,) = (one for one in monitoring.prometheus() if one["kind"] == "ConfigMap")
    jobs = yaml.safe_load(config["data"]["prometheus.yml"])["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["knative", "queue-proxy", "predictor", "annotated", "cadvisor"]


@pytest.mark.parametrize(("missing", "patched"), [([], False), (["CAP_SYS_RESOURCE"], True)])
def test_the_nodes_are_told_only_where_a_capability_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str], patched: bool
) -> None:
    monkeypatch.setattr("e2e.cluster.engine.missing_capabilities", lambda: missing)
    config = Kind(Settings(cache=tmp_path), Workshop(cache=tmp_path), Path("kind"), Path("kubectl"))._config()
    assert ("containerdConfigPatches" in config) == patched
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker"]


@pytest.mark.parametrize("tag", sorted(user_images.dockerfiles()))
def test_an_image_is_built_from_files_of_the_project_that_git_knows(tag: str) -> None:
    files = user_images.context_files(user_images.dockerfiles()[tag])
    names = {str(file.relative_to(PROJECT)) for file in files}
    assert {name for name in names if name.startswith((".venv", "out/")) or "__pycache__" in name} == set()
    for line in files[0].read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert [name for name in names if name == source or name.startswith(f"{source.rstrip('/')}/")], line
