"""The user's manifest with the plan filled in."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.errors import ManifestError
from kserve_ext.render.inferenceservice import autoscaling_annotations, render_inferenceservice
from kserve_ext.render.text import to_yaml

PREFIX = "autoscaling.knative.dev/"
MODE = "serving.kserve.io/deploymentMode"


def _set(manifest: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split("|")
    for key in parents:
        manifest = manifest.setdefault(key, {})
    manifest[last] = value


# What a user may have set by hand: where, and a value other than the plan's.
BY_HAND: dict[str, object] = {
    "metadata|namespace": "other",
    "metadata|labels": {"team": "vision"},
    f"metadata|annotations|{PREFIX}target": "3",
    f"metadata|annotations|{PREFIX}initialScale": "2",
    "spec|predictor|minReplicas": 3,
    "spec|predictor|maxReplicas": 0,
    "spec|predictor|containerConcurrency": 7,
    "spec|predictor|timeout": 9,
    "spec|predictor|scaleTarget": 5,
    "spec|predictor|scaleMetric": "rps",
    f"spec|predictor|annotations|{PREFIX}window": "90s",
    f"spec|predictor|annotations|{PREFIX}panicWindowPercentage": "20",
    "spec|predictor|model|runtime": "my-triton",
    "spec|predictor|model|protocolVersion": "v2",
    "spec|predictor|model|args": ["--log-verbose=1", "--model-config-name=mine"],
    "spec|predictor|model|env": [{"name": "A", "value": "1"}],
    "spec|predictor|model|resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
    "spec|predictor|nodeSelector": {"zone": "a"},
    "spec|transformer": {"containers": [{"name": "kserve-container", "image": "t:1"}]},
}


def _contains(rendered: object, written: object) -> bool:
    """Whether all that was written is in what was rendered; lists only as their beginning."""
    if isinstance(written, dict):
        return isinstance(rendered, dict) and all(_contains(rendered.get(key), value) for key, value in written.items())
    if isinstance(written, list):
        return isinstance(rendered, list) and rendered[: len(written)] == written
    return rendered == written


@given(by_hand=st.sets(st.sampled_from(sorted(BY_HAND))))
def test_rendering_keeps_what_was_written_and_rendering_again_changes_nothing(
    make_digits: Any, by_hand: set[str]
) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        for path in sorted(by_hand):
            _set(manifest, path, copy.deepcopy(BY_HAND[path]))

    case = make_digits().with_manifest(edit)
    written = copy.deepcopy(case.service.manifest)
    once = render_inferenceservice(case.service, case.plan)
    again = render_inferenceservice(dataclasses.replace(case.service, manifest=once), case.plan)
    assert _contains(once, written)
    assert to_yaml(again) == to_yaml(once)
    assert case.service.manifest == written


def test_the_plan_fills_in_scaling_and_resources(digits: Any) -> None:
    predictor = render_inferenceservice(digits.service, digits.plan)["spec"]["predictor"]
    assert {key: predictor[key] for key in ("minReplicas", "maxReplicas", "containerConcurrency", "timeout")} == {
        "minReplicas": 1,
        "maxReplicas": 4,
        "containerConcurrency": 64,
        "timeout": 60,
    }
    assert predictor["model"]["resources"] == {
        "requests": {"cpu": "2300m", "memory": "700Mi"},
        "limits": {"cpu": "2300m", "memory": "700Mi"},
    }
    assert predictor["model"]["args"] == ["--model-config-name=cpu"]


def test_the_target_is_a_decimal_annotation_and_not_the_whole_number_field(digits: Any) -> None:
    predictor = render_inferenceservice(digits.service, digits.plan)["spec"]["predictor"]
    assert predictor["annotations"][f"{PREFIX}target"] == "11.2"
    assert not {"scaleTarget", "scaleMetric"} & set(predictor)


def test_replica_bounds_are_fields_since_kserve_drops_the_annotations(digits: Any) -> None:
    rendered = to_yaml(render_inferenceservice(digits.service, digits.plan))
    assert "min-scale" not in rendered
    assert "max-scale" not in rendered


def test_scaling_of_the_predictor_does_not_reach_a_transformer(digits: Any) -> None:
    annotations = render_inferenceservice(digits.service, digits.plan)["metadata"]["annotations"]
    assert not [key for key in annotations if key.startswith(PREFIX)]


@pytest.mark.parametrize(("field", "name", "value"), [("scaleTarget", "target", 5), ("scaleMetric", "metric", "rps")])
def test_a_scaling_field_of_the_user_leaves_its_annotation_out(
    digits: Any, field: str, name: str, value: object
) -> None:
    case = digits.with_manifest(lambda manifest: _set(manifest, f"spec|predictor|{field}", value))
    annotations = render_inferenceservice(case.service, case.plan)["spec"]["predictor"]["annotations"]
    assert PREFIX + name not in annotations
    assert len(annotations) == len(autoscaling_annotations(case.plan)) - 1


@pytest.mark.parametrize("place", ["metadata", "spec|predictor"])
@pytest.mark.parametrize("name", ["initial-scale", "initialScale"])
def test_an_annotation_of_the_user_is_kept_in_both_places_and_spellings(digits: Any, place: str, name: str) -> None:
    case = digits.with_manifest(lambda manifest: _set(manifest, f"{place}|annotations|{PREFIX}{name}", "2"))
    rendered = to_yaml(render_inferenceservice(case.service, case.plan))
    assert rendered.count(PREFIX + "initial") == 1
    assert f'{PREFIX}{name}: "2"' in rendered


@pytest.mark.parametrize(
    ("target", "text"), [(11.2, "11.2"), (40.0, "40"), (0.01, "0.01"), (1e-2 / 3, "0.003"), (12345.678, "12345.678")]
)
def test_decimal_numbers_have_no_exponent(digits: Any, target: float, text: str) -> None:
    scaling = dataclasses.replace(digits.plan.scaling, target=target)
    assert autoscaling_annotations(dataclasses.replace(digits.plan, scaling=scaling))["target"] == text


def test_a_resource_that_the_user_named_is_left_as_it_is(digits: Any) -> None:
    written = {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    case = digits.with_manifest(lambda manifest: _set(manifest, "spec|predictor|model|resources", written))
    model = render_inferenceservice(case.service, case.plan)["spec"]["predictor"]["model"]
    assert model["resources"] == written


def test_an_accelerator_is_requested_and_limited_alike(emulated: Any) -> None:
    resources = render_inferenceservice(emulated.service, emulated.plan)["spec"]["predictor"]["model"]["resources"]
    assert resources["requests"]["nvidia.com/mig-1g.10gb"] == resources["limits"]["nvidia.com/mig-1g.10gb"] == "1"


def test_a_grpc_service_speaks_grpc_v2(embed: Any) -> None:
    model = render_inferenceservice(embed.service, embed.plan)["spec"]["predictor"]["model"]
    assert (model["protocolVersion"], model["runtime"]) == ("grpc-v2", "embed-triton")


@pytest.mark.parametrize(("written", "runtime"), [("kserve-ext-triton", "digits-triton"), ("mine", "mine")])
def test_one_of_our_cluster_runtimes_becomes_the_one_sized_for_the_plan(
    digits: Any, written: str, runtime: str
) -> None:
    case = digits.with_manifest(lambda manifest: _set(manifest, "spec|predictor|model|runtime", written))
    assert render_inferenceservice(case.service, case.plan)["spec"]["predictor"]["model"]["runtime"] == runtime


def test_a_protocol_that_contradicts_the_plan_is_refused(embed: Any) -> None:
    case = embed.with_manifest(lambda manifest: _set(manifest, "spec|predictor|model|protocolVersion", "v2"))
    with pytest.raises(
        ManifestError, match=r"embed.yaml:1: spec.predictor.model.protocolVersion: .*found v2; allowed: grpc-v2"
    ):
        render_inferenceservice(case.service, case.plan)


def test_the_old_triton_key_becomes_a_model_as_kserve_makes_it(digits: Any) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["spec"]["predictor"] = {"triton": {"storageUri": "pvc://models/digits", "runtimeVersion": "1"}}

    case = digits.with_manifest(edit)
    predictor = render_inferenceservice(case.service, case.plan)["spec"]["predictor"]
    assert "triton" not in predictor
    assert predictor["model"]["modelFormat"] == {"name": "triton"}
    assert predictor["model"]["storageUri"] == "pvc://models/digits"


@pytest.mark.parametrize("written", ["Knative", "Serverless", None])
def test_the_mode_is_always_stated(digits: Any, written: str | None) -> None:
    added = {MODE: written} if written else {}
    case = digits.with_manifest(lambda manifest: manifest["metadata"]["annotations"].update(added))
    annotations = render_inferenceservice(case.service, case.plan)["metadata"]["annotations"]
    assert annotations[MODE] == (written or "Knative")


@pytest.mark.parametrize("written", ["Standard", "RawDeployment"])
def test_standard_mode_holds_the_busy_rate_with_a_fixed_number_of_replicas(digits: Any, written: str) -> None:
    case = digits.with_manifest(lambda manifest: _set(manifest, f"metadata|annotations|{MODE}", written))
    rendered = render_inferenceservice(case.service, case.plan)
    assert rendered["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none"
    assert rendered["spec"]["predictor"]["minReplicas"] == case.plan.replicas_at_high_rate
    assert not {"annotations", "containerConcurrency", "maxReplicas"} & set(rendered["spec"]["predictor"])


def test_standard_mode_with_a_scaler_of_the_user_gets_the_bounds(digits: Any) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        _set(manifest, f"metadata|annotations|{MODE}", "Standard")
        _set(manifest, "metadata|annotations|serving.kserve.io/autoscalerClass", "keda")

    case = digits.with_manifest(edit)
    predictor = render_inferenceservice(case.service, case.plan)["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (1, 4)


def test_an_unknown_mode_names_those_that_are_planned(digits: Any) -> None:
    case = digits.with_manifest(lambda manifest: _set(manifest, f"metadata|annotations|{MODE}", "ModelMesh"))
    with pytest.raises(
        ManifestError, match=r"digits.yaml:1: .*found ModelMesh; allowed: Knative, Serverless, Standard"
    ):
        render_inferenceservice(case.service, case.plan)


def test_no_reason_reaches_the_revision_template(digits: Any) -> None:
    rendered = to_yaml(render_inferenceservice(digits.service, digits.plan))
    assert not [reason.code for reason in digits.plan.reasons if reason.code in rendered]
