"""What scales and places replicas beside KServe: against golden files and the published schemas of each kind."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kserve_ext.domain import Scaler
from kserve_ext.lint.check import ConfigText, Sources, check
from kserve_ext.lint.finding import Severity
from kserve_ext.render.bundle import render

GOLDEN = Path(__file__).parents[1] / "golden/render-scaled"
PLURALS = {
    "HorizontalPodAutoscaler": "horizontalpodautoscalers", "ScaledObject": "scaledobjects",
    "VerticalPodAutoscaler": "verticalpodautoscalers", "Deployment": "deployments",
}  # fmt: skip
FILES = ("inferenceservice.yaml", "autoscaler.yaml", "recommender.yaml", "placeholders.yaml", "plan.yaml")


def objects(case: Any) -> dict[str, Any]:
    files = render(case.service, case.plan, case.configs).files
    return {name: yaml.safe_load(files[name]) for name in FILES if name in files}


def metadata_of(trigger_of: Any) -> dict[str, str]:
    (trigger,) = trigger_of["autoscaler.yaml"]["spec"]["triggers"]
    found: dict[str, str] = trigger["metadata"]
    return found


def test_it_is_as_it_was_reviewed(scaled: Any, golden: Any) -> None:
    files = render(scaled.service, scaled.plan, scaled.configs).files
    folder = GOLDEN / scaled.plan.horizontal.scaler
    golden(folder, {name: text for name, text in files.items() if name in FILES})
    assert {path.name for path in folder.iterdir()} == {name for name in files if name in FILES}


def test_every_api_accepts_what_is_rendered(scaled: Any, crd: Callable[[str], dict[str, Any]]) -> None:
    found = [one for one in objects(scaled).values() if one["kind"] in PLURALS]
    for one in found:
        jsonschema.Draft7Validator(crd(PLURALS[one["kind"]])).validate(one)
    assert len(found) == (1 if scaled.plan.horizontal.scaler is Scaler.KNATIVE_HPA else 3)


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("autoscaler.yaml", ["spec"]),
        ("autoscaler.yaml", ["spec", "fallback"]),
        ("autoscaler.yaml", ["spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleUp"]),
        ("recommender.yaml", ["spec", "targetRef"]),
        ("placeholders.yaml", ["spec", "template", "spec", "containers", 0]),
    ],
)
def test_the_schemas_catch_a_typo(
    scaled_by: Any, crd: Callable[[str], dict[str, Any]], file: str, path: list[str | int]
) -> None:
    broken = objects(scaled_by(Scaler.KEDA_RPS))[file]
    node = broken
    for key in path:
        node = node[key]
    node["minReplica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        jsonschema.Draft7Validator(crd(PLURALS[broken["kind"]])).validate(broken)


def test_rendering_again_from_its_own_output_changes_nothing(scaled: Any) -> None:
    once = render(scaled.service, scaled.plan, scaled.configs).files
    manifest = yaml.safe_load(once["inferenceservice.yaml"])
    again = render(dataclasses.replace(scaled.service, manifest=manifest), scaled.plan, scaled.configs).files
    assert {name: again[name] for name in FILES[:4] if name in again} == {
        name: once[name] for name in FILES[:4] if name in once
    }


def test_the_linter_has_nothing_against_it(scaled: Any) -> None:
    files = render(scaled.service, scaled.plan, scaled.configs).files
    texts = {name: text for name, text in files.items() if name.endswith(".yaml") and name != "kustomization.yaml"}
    configs = {
        f"{model}/config.pbtxt": ConfigText(text=files[f"model_repo/{model}/config.pbtxt"], model=model)
        for model in scaled.configs
    }
    found = check(Sources(manifests=texts, configs=configs)).findings
    assert [(each.rule, each.message) for each in found if each.severity is Severity.ERROR] == []


def test_kserve_leaves_the_replicas_to_a_scaler_of_ours(scaled: Any) -> None:
    service = objects(scaled)["inferenceservice.yaml"]
    if scaled.plan.horizontal.scaler is Scaler.KNATIVE_HPA:
        annotations = service["spec"]["predictor"]["annotations"]
        assert annotations == {
            "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev", "autoscaling.knative.dev/metric": "cpu",
            "autoscaling.knative.dev/target": "80", "autoscaling.knative.dev/initial-scale": "1",
        }  # fmt: skip
    else:
        assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"


def test_the_scaler_names_the_deployment_that_kserve_makes(scaled_by: Any) -> None:
    for scaler in (Scaler.HPA, Scaler.KEDA_RPS):
        target = objects(scaled_by(scaler))["autoscaler.yaml"]["spec"]["scaleTargetRef"]
        assert target["name"] == "emulated-predictor"


def test_the_names_of_keda_s_own_objects_stay_labels_for_the_longest_service(scaled_by: Any) -> None:
    case = scaled_by(Scaler.KEDA_RPS)
    plan = dataclasses.replace(case.plan, service="s" * 53)
    found = objects(dataclasses.replace(case, plan=plan))["autoscaler.yaml"]
    names = (found["metadata"]["name"], found["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"])
    assert max(map(len, names)) <= 63


def test_the_queue_is_asked_for_without_the_configured_delay(scaled_by: Any) -> None:
    assert " / 1e3 - 1.5, 0))" in metadata_of(objects(scaled_by(Scaler.KEDA_QUEUE)))["query"]


def test_the_rate_is_the_higher_of_what_is_seen_and_what_is_forecast(scaled_by: Any) -> None:
    query = metadata_of(objects(scaled_by(Scaler.KEDA_RPS)))["query"]
    assert query.startswith("max(label_replace(")
    assert 'kserve_ext_forecast_rps{inferenceservice_namespace="vision",inferenceservice_name="emulated"}' in query


def test_pods_that_nobody_scrapes_are_no_number_but_at_zero_replicas_they_are_none(scaled_by: Any) -> None:
    case = scaled_by(Scaler.KEDA_RPS)
    assert " and on() nv_inference_request_success" in metadata_of(objects(case))["query"]
    zero = dataclasses.replace(case.plan.scaling, min_replicas=0)
    settings = dataclasses.replace(case.plan.horizontal, polling_s=10.0, cooldown_s=72.0)
    at_zero = dataclasses.replace(case, plan=dataclasses.replace(case.plan, scaling=zero, horizontal=settings))
    found = objects(at_zero)
    assert " and on() " not in metadata_of(found)["query"]
    spec = found["autoscaler.yaml"]["spec"]
    periods = [spec[name] for name in ("pollingInterval", "cooldownPeriod", "initialCooldownPeriod")]
    assert periods == [10, 72, 600]  # at first it stays as long as a model may take to load: ready, it may go to zero


def test_polling_and_cooldown_are_left_out_where_keda_would_only_warn_of_them(scaled_by: Any) -> None:
    assert not {"pollingInterval", "cooldownPeriod", "initialCooldownPeriod"} & set(
        objects(scaled_by(Scaler.KEDA_RPS))["autoscaler.yaml"]["spec"]
    )


def test_only_pods_of_this_service_are_asked_about(scaled_by: Any) -> None:
    (pods,) = set(re.findall(r'pod=~"([^"]+)"', metadata_of(objects(scaled_by(Scaler.KEDA_RPS)))["query"]))
    assert re.fullmatch(pods, "emulated-predictor-7d9f8c6b5-x2x7k")
    assert not re.fullmatch(pods, "emulated-predictor-predictor-7d9f8c6b5-x2x7k")  # of a service emulated-predictor


def test_a_placeholder_asks_for_what_a_replica_asks_for_and_gives_way_at_once(scaled_by: Any) -> None:
    case = scaled_by(Scaler.KEDA_RPS).with_manifest(
        lambda manifest: manifest["spec"]["predictor"].update(
            nodeSelector={"gpu": "h100"}, tolerations=[{"key": "gpu"}]
        )
    )
    rendered = render(case.service, case.plan, case.configs).files
    pod = yaml.safe_load(rendered["placeholders.yaml"])["spec"]["template"]["spec"]
    model = yaml.safe_load(rendered["inferenceservice.yaml"])["spec"]["predictor"]["model"]
    assert [one["resources"] for one in pod["containers"]] == [model["resources"]]
    assert (pod["nodeSelector"], pod["tolerations"]) == ({"gpu": "h100"}, [{"key": "gpu"}])
    assert (pod["terminationGracePeriodSeconds"], pod["priorityClassName"]) == (0, "kserve-ext-placeholder")


def test_a_placeholder_asks_for_what_is_written_by_hand_and_in_knative_mode_for_the_proxy_as_well(
    scaled_by: Any,
) -> None:
    by_hand = {"requests": {"cpu": "50m"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    case = scaled_by(Scaler.KNATIVE_HPA).with_manifest(
        lambda manifest: manifest["spec"]["predictor"]["model"].update(resources=by_hand)
    )
    rendered = render(case.service, case.plan, case.configs).files
    pod = yaml.safe_load(rendered["placeholders.yaml"])["spec"]["template"]["spec"]
    model = yaml.safe_load(rendered["inferenceservice.yaml"])["spec"]["predictor"]["model"]
    assert model["resources"]["requests"]["cpu"] == "50m"
    assert [one["resources"] for one in pod["containers"]] == [model["resources"], {"requests": {"cpu": "25m"}}]


def test_the_priority_of_placeholders_is_in_the_base() -> None:
    text = (Path(__file__).parents[2] / "manifests/base/priorityclasses.yaml").read_text()
    found = {one["metadata"]["name"]: one["value"] for one in yaml.safe_load_all(text)}
    # Below -10 a cluster autoscaler orders no node, at 0 a replica without a class of its own would not push it out.
    assert -10 <= found["kserve-ext-placeholder"] < 0


def test_a_recommender_changes_nothing(scaled_by: Any) -> None:
    assert objects(scaled_by(Scaler.HPA))["recommender.yaml"]["spec"]["updatePolicy"] == {"updateMode": "Off"}
