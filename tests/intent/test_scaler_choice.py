"""Which scaler goes with what: every combination that cannot work is refused where it stands."""

from __future__ import annotations

import pytest

from kserve_ext.domain import Scaler
from kserve_ext.errors import ManifestError, Problem
from kserve_ext.intent import read_services

STANDARD = "    serving.kserve.io/deploymentMode: Standard\n"
PROMETHEUS = "    kserve-ext.dev/prometheus: http://prometheus.monitoring:9090\n"
KNATIVE = (Scaler.KPA, Scaler.KNATIVE_HPA)


def manifest(digits: str, *annotations: str, predictor: str = "", namespace: str = "  namespace: vision\n") -> str:
    head = digits.replace("  annotations:\n", f"{namespace}  annotations:\n" + "".join(annotations))
    return head.replace("  predictor:\n", "  predictor:\n" + predictor)


def problem_of(text: str) -> Problem:
    with pytest.raises(ManifestError) as caught:
        read_services(text, "m.yaml")
    (problem,) = caught.value.problems
    return problem


def written(scaler: Scaler) -> tuple[str, ...]:
    """The annotations that a scaler needs."""
    return (
        f"    kserve-ext.dev/scaler: {scaler}\n",
        *(() if scaler in KNATIVE else (STANDARD,)),
        *((PROMETHEUS,) if scaler.by_keda else ()),
    )


@pytest.mark.parametrize("scaler", Scaler)
def test_each_scaler_is_read_in_its_mode(digits: str, scaler: Scaler) -> None:
    (service,) = read_services(manifest(digits, *written(scaler)), "m.yaml")
    assert service.intent.scaler is scaler


def test_without_the_annotation_nothing_is_asked_for(digits: str) -> None:
    (service,) = read_services(digits, "m.yaml")
    assert (service.intent.scaler, service.intent.vertical, service.intent.node_start_s) == (None, False, None)


@pytest.mark.parametrize("scaler", Scaler)
def test_each_scaler_is_refused_in_the_other_mode(digits: str, scaler: Scaler) -> None:
    other = [line for line in written(scaler) if line != STANDARD] + ([STANDARD] if scaler in KNATIVE else [])
    problem = problem_of(manifest(digits, *other))
    assert problem.field == "metadata.annotations[kserve-ext.dev/scaler]"
    assert "deploymentMode: " + ("Knative" if scaler in KNATIVE else "Standard") in problem.allowed


@pytest.mark.parametrize("scaler", [one for one in Scaler if one not in (Scaler.KPA, Scaler.KEDA_RPS)])
def test_zero_replicas_are_refused_where_nothing_could_start_one(digits: str, scaler: Scaler) -> None:
    problem = problem_of(manifest(digits, *written(scaler), predictor="    minReplicas: 0\n"))
    assert (problem.field, problem.what.split(" cannot")[0]) == ("spec.predictor.minReplicas", scaler)


@pytest.mark.parametrize("scaler", [one for one in Scaler if one is not Scaler.KPA])
def test_a_budget_for_cold_starts_is_refused_where_no_request_is_held(digits: str, scaler: Scaler) -> None:
    text = manifest(digits, *written(scaler), "    kserve-ext.dev/cold-start-budget: 30s\n")
    assert "cold-start-budget" in problem_of(text).field


@pytest.mark.parametrize("scaler", [Scaler.KEDA_RPS, Scaler.KEDA_QUEUE, Scaler.KEDA_GPU])
def test_keda_needs_somebody_to_ask(digits: str, scaler: Scaler) -> None:
    without = [line for line in written(scaler) if line != PROMETHEUS]
    problem = problem_of(manifest(digits, *without))
    assert (problem.field.rpartition("/")[2], problem.what[:8]) == ("prometheus]", "missing:")


@pytest.mark.parametrize("scaler", Scaler)
def test_a_query_needs_the_namespace_that_the_pods_are_in(digits: str, scaler: Scaler) -> None:
    text = manifest(digits, *written(scaler), namespace="")
    if scaler.by_keda:
        assert problem_of(text).field == "metadata.namespace"
    else:
        assert read_services(text, "m.yaml")


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ((PROMETHEUS,), "prometheus"),
        ((*written(Scaler.HPA), "    serving.kserve.io/autoscalerClass: hpa\n"), "autoscalerClass"),
        ((*written(Scaler.KEDA_RPS), "    serving.kserve.io/autoscalerClass: keda\n"), "autoscalerClass"),
        ((*written(Scaler.KPA), "    autoscaling.knative.dev/class: hpa.autoscaling.knative.dev\n"), "class"),
        ((*written(Scaler.KNATIVE_HPA), "    autoscaling.knative.dev/metric: rps\n"), "metric"),
        ((*written(Scaler.KEDA_QUEUE), "    kserve-ext.dev/neighbours: embed 120ms 5rps\n"), "scaler"),
        (("    kserve-ext.dev/vertical: recommend\n",), "vertical"),
    ],
    ids=["prometheus for nobody", "hpa twice", "keda twice", "another class", "another metric", "two models",
         "a recommender of Revisions"],
)  # fmt: skip
def test_what_contradicts_the_scaler_is_named_where_it_stands(digits: str, lines: tuple[str, ...], field: str) -> None:
    assert field in problem_of(manifest(digits, *lines)).field


def test_a_metric_of_kserve_that_the_scaler_does_not_go_by_is_refused(digits: str) -> None:
    text = manifest(digits, *written(Scaler.KEDA_RPS), predictor="    scaleMetric: cpu\n")
    assert problem_of(text).allowed == "rps"
