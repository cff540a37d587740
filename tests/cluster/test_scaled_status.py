"""What status shows of a HorizontalPodAutoscaler and of a recommender."""

from __future__ import annotations

from typing import Any

import pytest

from kserve_ext.cluster.scaled import Autoscaler, Recommended, autoscaler_of, recommended_of


def hpa(target: str = "digits-predictor", **condition: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits-keda"},
        "spec": {"scaleTargetRef": {"name": target}, "minReplicas": 1, "maxReplicas": 4},
        "status": {"desiredReplicas": 3, "conditions": [{"type": "ScalingActive", "status": "True", **condition}]},
    }


def deployment(**requests: str) -> dict[str, Any]:
    containers = [{"name": "side", "resources": {}}, {"name": "kserve-container", "resources": {"requests": requests}}]
    return {"spec": {"template": {"spec": {"containers": containers}}}}


def recommender(**target: str) -> dict[str, Any]:
    found = [{"containerName": "kserve-container", "target": target}] if target else []
    return {"status": {"recommendation": {"containerRecommendations": found}}}


def test_the_autoscaler_is_the_one_of_this_deployment() -> None:
    found = autoscaler_of((hpa("another-predictor"), hpa()), "digits-predictor")
    assert found == Autoscaler(name="digits-keda", min_replicas=1, max_replicas=4, desired=3)
    assert autoscaler_of((hpa("another-predictor"),), "digits-predictor") is None


def test_one_that_sets_nothing_says_why() -> None:
    found = autoscaler_of((hpa(status="False", message="no metrics returned"),), "digits-predictor")
    assert found is not None
    assert found.problem == "no metrics returned"


def test_an_autoscaler_without_a_status_has_decided_nothing() -> None:
    found = autoscaler_of(({**hpa(), "status": {}},), "digits-predictor")
    assert found is not None
    assert (found.desired, found.problem) == (0, "")


def test_a_recommendation_stands_beside_what_the_model_s_container_asks_for() -> None:
    cpu, memory = recommended_of(recommender(cpu="63m", memory="262144k"), deployment(cpu="500m", memory="256Mi"))
    assert cpu == Recommended(resource="cpu", requested="500m", target="63m")
    assert cpu.ratio == pytest.approx(0.126)
    assert memory.ratio == pytest.approx(262144e3 / 2**28)


def test_what_nothing_is_requested_of_has_no_ratio() -> None:
    (cpu,) = recommended_of(recommender(cpu="63m"), deployment())
    assert (cpu.requested, cpu.ratio) == ("", None)


@pytest.mark.parametrize("nothing", [{}, {"status": {}}, recommender()], ids=["no object", "no status", "too early"])
def test_nothing_is_recommended_yet(nothing: dict[str, Any]) -> None:
    assert recommended_of(nothing, deployment(cpu="500m")) == ()
