"""Files: what is found below a folder, what is passed over, and what belongs together."""

from __future__ import annotations

from pathlib import Path

import pytest

from kserve_ext.errors import InputError
from kserve_ext.lint import BY_ID, check
from kserve_ext.linting import read_facts, read_sources

SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  annotations:
    serving.kserve.io/deploymentMode: Knative
spec:
  predictor:
    minReplicas: 0
    model:
      modelFormat:
        name: triton
      storageUri: pvc://models/digits
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A service, other YAML, a chart, a hidden folder, and a repository with two models."""
    for name, text in {
        "service.yaml": SERVICE, "values.yaml": "kind: a: b", "chart/templates/isvc.yaml": "{{- if x }}\nkind: InferenceService",
        ".git/service.yaml": SERVICE, "models/digits/config.pbtxt": 'backend: "onnxruntime"\nmax_batch_size: 8\n',
        "models/digits/configs/h100.pbtxt": "", "models/digits/1/model.onnx": "no onnx", "models/other/config.pbtxt": "",
        "models/other/profiles/cpu.json": '{"load_s": 7.5}', "graph.pbtxt": "node {}",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_folder_gives_its_manifests_and_its_models(folder: Path) -> None:
    found = read_sources([str(folder)])
    assert [Path(name).relative_to(folder).as_posix() for name in found.sources.manifests] == ["service.yaml"]
    configs = {Path(name).relative_to(folder).as_posix(): one for name, one in found.sources.configs.items()}
    assert list(configs) == [
        "models/digits/config.pbtxt",
        "models/digits/configs/h100.pbtxt",
        "models/other/config.pbtxt",
    ]
    assert configs["models/digits/configs/h100.pbtxt"].variant == "h100"
    assert configs["models/digits/config.pbtxt"].folder.versions == {"1": ("model.onnx",)}
    assert configs["models/other/config.pbtxt"].folder.load_s == 7.5
    assert [note for note in found.notes if "isvc.yaml is a template" in note]


def test_a_service_is_judged_beside_the_configs_of_its_model(folder: Path) -> None:
    outcome = check(read_sources([str(folder)]).sources)
    found = {(one.rule, Path(one.file).relative_to(folder).as_posix(), one.line) for one in outcome.findings}
    assert {
        ("KX312", "service.yaml", 9), ("KX421", "models/digits/config.pbtxt", 1), ("KX502", "models/other/config.pbtxt", 1),
        ("KX504", "models/digits/config.pbtxt", 1),
    } <= found  # fmt: skip


@pytest.mark.parametrize("name", ["missing.yaml", "missing/"])
def test_a_path_that_is_not_there_is_bad_input(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not found"):
        read_sources([str(tmp_path / name)])


def test_facts_are_kubernetes_objects_as_kubectl_prints_them(tmp_path: Path) -> None:
    path = tmp_path / "facts.yaml"
    path.write_text(
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: config-features}, data: {kubernetes.podspec-affinity: enabled}}\n"
        "- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: inferenceservice-config}\n"
        '  data: {deploy: \'{"defaultDeploymentMode": "Serverless"}\'}\n'
        "- {apiVersion: v1, kind: Node, metadata: {name: a}, status: {allocatable: {cpu: 3920m, memory: 8Gi}}}\n"
    )
    facts = read_facts(path)
    assert facts.feature("kubernetes.podspec-affinity") is True
    assert facts.feature("kubernetes.podspec-nodeselector") is False
    assert facts.default_mode == "Serverless"
    assert facts.nodes is not None
    assert facts.nodes[0].allocatable == {"cpu": 3.92, "memory": 8.0 * 2**30}
    assert facts.runtimes is None


def test_the_cluster_s_default_mode_decides_where_none_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "facts.yaml"
    path.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inferenceservice-config}\n"
        'data: {deploy: \'{"defaultDeploymentMode": "Standard"}\'}\n'
    )
    (tmp_path / "service.yaml").write_text(
        SERVICE.replace("    serving.kserve.io/deploymentMode: Knative\n", "    a: b\n")
    )
    sources = read_sources([str(tmp_path / "service.yaml")]).sources
    rules = [BY_ID["KX145"]]
    assert check(sources, rules=rules).findings == ()
    assert len(check(sources, facts=read_facts(path), rules=rules).findings) == 1


def test_facts_without_an_object_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "facts.yaml").write_text("a: b\n")
    with pytest.raises(InputError, match="no Kubernetes object"):
        read_facts(tmp_path / "facts.yaml")
