"""All files of a service, against golden folders and KServe's own schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kserve_ext.errors import ModelError
from kserve_ext.render.bundle import render, to_yaml
from kserve_ext.render.pbtxt import parse_config
from kserve_ext.render.predictor_runtime import render_predictor_runtimes
from kserve_ext.render.runtime import render_cluster_runtimes

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/render"
CLUSTER_RUNTIMES = (*render_cluster_runtimes(), *render_predictor_runtimes())


@pytest.fixture
def bundle(case: Any) -> Any:
    return render(case.service, case.plan, case.configs)


def test_the_bundle_is_as_it_was_reviewed(bundle: Any, golden: Any, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["case"]
    golden(GOLDEN / name, bundle.files)
    written = {str(path.relative_to(GOLDEN / name)) for path in (GOLDEN / name).rglob("*") if path.is_file()}
    assert written == set(bundle.files)


@pytest.mark.parametrize("runtime", CLUSTER_RUNTIMES, ids=lambda runtime: str(runtime["metadata"]["name"]))
def test_the_committed_cluster_runtimes_are_fresh(runtime: dict[str, Any], golden: Any) -> None:
    golden(ROOT / "manifests/base", {f"{runtime['metadata']['name']}.yaml": to_yaml(runtime)})


def test_the_base_applies_every_file_in_it() -> None:
    base = ROOT / "manifests/base"
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    files = {path.name for path in base.glob("*.yaml")} - {"kustomization.yaml"}
    assert files <= set(listed)
    assert all((base / name).exists() for name in listed)


def test_rendering_is_the_same_each_time_and_from_its_own_output(case: Any, bundle: Any) -> None:
    manifest = yaml.safe_load(bundle.files["inferenceservice.yaml"])
    configs = {model: bundle.files[f"model_repo/{model}/config.pbtxt"] for model in case.configs}
    again = render(dataclasses.replace(case.service, manifest=manifest), case.plan, configs)
    unchanged = {path: text for path, text in again.files.items() if path != "plan.yaml"}  # it tells what was left out
    assert unchanged == {path: text for path, text in bundle.files.items() if path != "plan.yaml"}


def test_kserve_accepts_what_is_rendered(bundle: Any, crd: Callable[[str], dict[str, Any]]) -> None:
    for file, plural in {
        "inferenceservice.yaml": "inferenceservices",
        "servingruntime.yaml": "servingruntimes",
    }.items():
        jsonschema.Draft7Validator(crd(plural)).validate(yaml.safe_load(bundle.files[file]))


def test_kserve_accepts_the_cluster_runtimes(crd: Callable[[str], dict[str, Any]]) -> None:
    for runtime in CLUSTER_RUNTIMES:
        jsonschema.Draft7Validator(crd("servingruntimes")).validate(runtime)


@pytest.mark.parametrize(
    ("plural", "path"),
    [
        ("inferenceservices", ["spec", "predictor"]),
        ("inferenceservices", ["spec", "predictor", "model", "resources"]),
        ("servingruntimes", ["spec", "containers", 0, "livenessProbe"]),
        ("servingruntimes", ["spec", "volumes", 0, "emptyDir"]),
    ],
)
def test_the_schemas_catch_a_typo(
    digits: Any, crd: Callable[[str], dict[str, Any]], plural: str, path: list[str | int]
) -> None:
    rendered = render(digits.service, digits.plan, digits.configs).files[f"{plural[:-1]}.yaml"]
    broken = yaml.safe_load(rendered)
    node = broken
    for key in path:
        node = node[key]
    node["minReplica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        jsonschema.Draft7Validator(crd(plural)).validate(broken)


def test_each_model_has_its_config_for_the_hardware_and_for_a_server_that_is_told_nothing(embed: Any) -> None:
    files = render(embed.service, embed.plan, embed.configs).files
    for model in ("embed", "embed-tokenizer", "embed-encoder"):
        text = files[f"model_repo/{model}/configs/cpu.pbtxt"]
        assert text == files[f"model_repo/{model}/config.pbtxt"]
        assert parse_config(text).name == model
    assert parse_config(files["model_repo/embed/config.pbtxt"]).max_batch_size == 1


def test_reasons_and_warnings_are_in_the_config_map_in_words(case: Any, bundle: Any) -> None:
    data = yaml.safe_load(bundle.files["plan.yaml"])["data"]
    for reason in case.plan.reasons:
        assert f"{reason.field}: {reason.text} [{reason.code}]" in data["reasons.txt"]
    for warning in (*case.plan.warnings, *bundle.notes):
        assert warning.text in data["warnings.txt"]
    assert yaml.safe_load(data["plan.yaml"])["concurrency_limit"] == case.plan.concurrency_limit


def test_what_was_left_out_of_a_config_is_said(emulated: Any) -> None:
    notes = render(emulated.service, emulated.plan, emulated.configs).notes
    assert [note.field for note in notes] == [
        "emulated.dynamic_batching.preferred_batch_size",
        "emulated.dynamic_batching.default_queue_policy",
        "emulated.model_warmup",
    ]


def test_all_objects_stand_in_the_namespace_that_the_user_wrote_or_in_none(digits: Any) -> None:
    for namespace in ("vision", None):
        case = digits if namespace else digits.with_manifest(lambda manifest: manifest["metadata"].pop("namespace"))
        files = render(case.service, case.plan, case.configs).files
        for name in ("inferenceservice.yaml", "servingruntime.yaml", "plan.yaml"):
            assert yaml.safe_load(files[name])["metadata"].get("namespace") == namespace


def test_a_runtime_of_the_user_is_used_alone(digits: Any) -> None:
    case = digits.with_manifest(lambda manifest: manifest["spec"]["predictor"]["model"].update(runtime="mine"))
    files = render(case.service, case.plan, case.configs).files
    assert "servingruntime.yaml" not in files
    assert yaml.safe_load(files["kustomization.yaml"])["resources"] == ["inferenceservice.yaml", "plan.yaml"]


def test_missing_and_misnamed_configs_are_all_named(embed: Any) -> None:
    configs = {"embed": embed.configs["embed"], "embed-encoder": 'name: "encoder"'}
    with pytest.raises(ModelError) as error:
        render(embed.service, embed.plan, configs)
    assert "embed-tokenizer/config.pbtxt: missing" in error.value.message
    assert "embed-encoder/config.pbtxt: name: not the name of the model's folder" in error.value.message
