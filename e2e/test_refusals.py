"""What must not be applied is refused, each by what is there to refuse it; the examples are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from e2e import examples, product
from e2e.served import models, written_down
from e2e.support import Cluster, KubectlError

__all__ = ["models", "written_down"]  # the fixtures


def test_a_pod_that_is_not_restricted_is_refused(cluster: Cluster, models: str) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lax"},
        "spec": {"containers": [{"name": "a", "image": "kserve-ext-triton:0.1.0"}]},
    }  # fmt: skip
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
        cluster.apply(pod, models)


REFUSED: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    (
        "concurrency in Standard mode",
        lambda isvc: isvc["spec"]["predictor"].update(containerConcurrency=8),
        "containerConcurrency: nothing holds it in Standard mode; found 8",
    ),
    (
        "canary in Standard mode",
        lambda isvc: isvc["spec"]["predictor"].update(canaryTrafficPercent=10),
        "canaryTrafficPercent: ignored in Standard mode",
    ),
    (
        "Knative's annotations in Standard mode",
        lambda isvc: isvc["metadata"]["annotations"].update({"autoscaling.knative.dev/target": "5"}),
        "ignored in Standard mode, there is no Knative autoscaler; found autoscaling.knative.dev/target",
    ),
    (
        "scale to zero with an HPA",
        lambda isvc: (isvc["spec"]["predictor"].update(minReplicas=0), hpa(isvc)),
        "minReplicas: 0 becomes 1",
    ),
    (
        "no mode",
        lambda isvc: isvc["metadata"]["annotations"].pop("serving.kserve.io/deploymentMode"),
        "deploymentMode]: missing; clusters differ",
    ),
    (
        "a misspelled annotation",
        lambda isvc: isvc["metadata"]["annotations"].update({"kserve-ext.dev/slo-p9": "1s"}),
        "kserve-ext.dev/slo-p9: unknown; allowed: slo-p99",
    ),
    (
        "half an intent",
        lambda isvc: isvc["metadata"]["annotations"].pop("kserve-ext.dev/rate"),
        "a plan needs both",
    ),
    (
        "a duration without a unit",
        lambda isvc: isvc["metadata"]["annotations"].update({"kserve-ext.dev/slo-p99": "80"}),
        "slo-p99]: cannot be read; found 80; allowed: a number with a unit",
    ),
    (
        "a rate that is none",
        lambda isvc: isvc["metadata"]["annotations"].update({"kserve-ext.dev/rate": "fast"}),
        "rate]: cannot be read; found fast; allowed: 40rps",
    ),
    (
        "a transformer that starts 32 processes",
        lambda isvc: isvc["spec"].update(transformer=transformer(32)),
        "starts one Python process for each, 32 here",
    ),
]  # fmt: skip


def hpa(isvc: dict[str, Any]) -> None:
    isvc["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "hpa"


def transformer(concurrency: int) -> dict[str, Any]:
    container = {"name": "kserve-container", "image": "kserve-ext-router:0.1.0"}
    return {"containerConcurrency": concurrency, "containers": [container]}


@pytest.mark.parametrize(("edit", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_kserve_would_ignore_is_refused_here_and_said_elsewhere(
    cluster: Cluster, models: str, edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    manifest = examples.read("manifests/examples/digits-standard.yaml", name="wrong")
    edit(manifest)
    text = yaml.safe_dump(manifest)
    code, said = dry_run(cluster, models, text)
    assert code != 0
    assert words in said
    code, said = dry_run(cluster, "default", text)
    assert code == 0, said
    assert "Warning: Validation failed" in said
    assert words in said


def test_knative_mode_has_fields_of_its_own_that_are_ignored(cluster: Cluster, models: str) -> None:
    manifest = examples.read("manifests/examples/digits.yaml", name="wrong")
    predictor = manifest["spec"]["predictor"]
    predictor["annotations"] = {"autoscaling.knative.dev/min-scale": "2"}
    code, said = dry_run(cluster, models, yaml.safe_dump(manifest))
    assert code != 0
    assert "KServe drops them; write spec.predictor.minReplicas" in said


def dry_run(cluster: Cluster, namespace: str, text: str) -> tuple[int, str]:
    done = cluster.attempt("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=text)
    return done.returncode, done.stdout + done.stderr


EXAMPLES = [
    *(f"manifests/examples/{path.name}" for path in sorted((examples.ROOT / "manifests/examples").glob("*.yaml"))),
    *(
        str(path.relative_to(examples.ROOT))
        for path in sorted(examples.ROOT.glob("predictors/*/inferenceservice.yaml"))
    ),
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_every_example_is_accepted_as_it_is_without_a_warning(cluster: Cluster, models: str, path: str) -> None:
    objects = list(yaml.safe_load_all((examples.ROOT / path).read_text()))
    for found in objects:
        found["metadata"].pop("namespace", None)
    code, said = dry_run(cluster, models, yaml.safe_dump_all(objects))
    if "claim" in path:  # the tests' own claim of this name cannot change
        assert "Forbidden" in said or code == 0
        return
    assert code == 0, said
    assert "Warning" not in said


def test_the_quota_counts_services_and_slices(cluster: Cluster) -> None:
    with product.made_namespace(cluster, "quota") as name:
        objects = list(yaml.safe_load_all((examples.ROOT / "manifests/examples/quota.yaml").read_text()))
        objects[0]["spec"]["hard"]["count/inferenceservices.serving.kserve.io"] = "1"
        cluster.apply(objects, name)
        manifest = examples.read("manifests/examples/digits.yaml")
        manifest["spec"]["predictor"]["minReplicas"] = 0
        cluster.apply(manifest, name)
        with pytest.raises(KubectlError, match="exceeded quota: models"):
            cluster.apply(examples.read("manifests/examples/digits.yaml", name="second"), name)
