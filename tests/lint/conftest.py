"""Rule cases: what stands in cases/*.yaml, made into the texts that the linter reads."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kserve_ext.lint import ClusterFacts, ConfigText, ModelFolder, Sources, cluster_facts
from kserve_ext.lint.manifest import read_objects
from kserve_ext.render.tensors import parse_signature

Case = Mapping[str, Any]
CASES = {
    rule: sides
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    for rule, sides in yaml.safe_load(path.read_text()).items()
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `rule` runs once for each rule with a case; `fixable` once for each that mends."""
    if "rule" in metafunc.fixturenames:
        metafunc.parametrize("rule", sorted(CASES))


@pytest.fixture
def cases() -> Mapping[str, Mapping[str, Case]]:
    """What fires each rule and what does not, by id."""
    return CASES


@pytest.fixture
def sources_of() -> Callable[[Case], Sources]:
    """The texts that a case stands for."""
    return _sources


@pytest.fixture
def facts_of() -> Callable[[Case], ClusterFacts | None]:
    """The cluster that a case stands for, or None."""
    return _facts


def _service(case: Case) -> str:
    """An InferenceService `digits` with the case's blocks in their places."""
    mode = case.get("mode", "Knative")
    annotations = f"serving.kserve.io/deploymentMode: {mode}" if mode else "note: none"
    lines = [
        f"apiVersion: {case.get('version', 'serving.kserve.io/v1beta1')}",
        "kind: InferenceService",
        "metadata:",
        f"  name: {case.get('name', 'digits')}",
        "  annotations:",
        f"    {annotations}",
        *_block(case.get("annotations", ""), 4),
        "spec:",
        *_block(case.get("spec", ""), 2),
        "  predictor:",
        *_block(case.get("predictor", ""), 4),
    ]
    if "bare" in case:
        return "\n".join([*lines, *_block(case["bare"], 4), ""])
    runtime = case.get("runtime_name", "mine")
    model = [
        "    model:",
        "      modelFormat:",
        f"        name: {case.get('format', 'onnx')}",
        "      storageUri: pvc://models/digits",
        *([f"      runtime: {runtime}"] if runtime else []),
        *_block(case.get("model", ""), 6),
    ]
    return "\n".join([*lines, *model, ""])


def _block(text: str, indent: int) -> list[str]:
    return textwrap.indent(text.strip("\n"), " " * indent).splitlines()


def _sources(case: Case) -> Sources:
    manifests = {"service.yaml": _service(case)}
    manifests |= {f"{name}.yaml": case[name] for name in ("runtime", "scaler") if name in case}
    configs = {}
    if "config" in case:
        configs["models/digits/config.pbtxt"] = ConfigText(text=case["config"], model="digits", folder=_folder(case))
    for name, text in case.get("variants", {}).items():
        configs[f"models/digits/configs/{name}.pbtxt"] = ConfigText(text=text, model="digits", variant=name)
    for name, text in case.get("configs", {}).items():
        configs[f"models/{name}/config.pbtxt"] = ConfigText(text=text, model=name)
    return Sources(manifests=manifests, configs=configs)


def _folder(case: Case) -> ModelFolder:
    found = case.get("signature")
    return ModelFolder(
        versions={version: tuple(files) for version, files in case.get("versions", {}).items()},
        complete_siblings=case.get("siblings", False),
        signatures={"1/model.onnx": parse_signature(found["inputs"], found["outputs"])} if found else {},
        unreadable=case.get("unreadable", {}),
        load_s=case.get("load_s"),
    )


def _facts(case: Case) -> ClusterFacts | None:
    objects: list[dict[str, Any]] = [
        {"kind": "ConfigMap", "metadata": {"name": f"config-{name}"}, "data": case[name]}
        for name in ("features", "autoscaler")
        if name in case
    ]
    objects += [{"kind": "ClusterServingRuntime", "metadata": {"name": name}} for name in case.get("runtimes", ())]
    objects += [
        {"kind": "Node", "metadata": {"name": name}, "status": {"allocatable": allocatable}}
        for name, allocatable in case.get("nodes", {}).items()
    ]
    if "quota" in case:
        quota = {"name": "all", "namespace": "default"}
        objects.append({"kind": "ResourceQuota", "metadata": quota, "status": {"hard": case["quota"], "used": {}}})
    if not objects:
        return None
    listed = {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", **one} for one in objects]}
    return cluster_facts(read_objects(yaml.safe_dump(listed), "facts.yaml"))
