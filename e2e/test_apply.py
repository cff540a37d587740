"""A planned service on the cluster: applied, answering, carrying every planned value, changed, taken over, deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from e2e import support
from e2e.product import Product, answers_here, digits, images, lay_config, made_namespace, planned_models
from e2e.support import Cluster, Object

AUTOSCALING = "autoscaling.knative.dev/"


@pytest.fixture(scope="module")
def product(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A namespace with the digits service applied from a rendered bundle, over HTTP; its config lies in the repository."""
    with made_namespace(cluster, "apply") as namespace, planned_models(cluster, namespace):
        made = Product(cluster=cluster, namespace=namespace, folder=tmp_path_factory.mktemp("apply"))
        bundle = made.render(digits(), "rendered")
        lay_config(cluster, namespace, bundle)
        made.run("apply", str(bundle), "--yes", "--timeout", "3m")
        yield made


def plan_values(product: Product, name: str = "digits") -> Object:
    found: Object = yaml.safe_load(product.kind("configmap", f"{name}-plan")["data"]["plan.yaml"])
    return found


def test_answers_over_json_and_binary_are_those_of_the_model_itself(product: Product) -> None:
    pictures, shown = images(300)
    here = answers_here(pictures)
    with product.client("digits") as client:
        over_http = np.concatenate(
            [client.infer("digits", {"image": part}, timeout_s=20)["label"] for part in np.split(pictures, 10)]
        )
    assert np.array_equal(over_http.ravel(), here["label"].ravel())
    assert (over_http.ravel() == shown).mean() > 0.95
    body = {"inputs": [{"name": "image", "shape": [2, 64], "datatype": "FP32", "data": pictures[:2].ravel().tolist()}]}
    answer = product.cluster.ask(support.host_of("digits", product.namespace), "/v2/models/digits/infer", body).json()
    scores = next(output for output in answer["outputs"] if output["name"] == "scores")
    np.testing.assert_allclose(np.reshape(scores["data"], (2, 10)), here["scores"][:2], atol=1e-5)


def test_a_second_service_over_grpc_answers_the_same(product: Product) -> None:
    manifest = product.write(
        digits("digits-grpc", protocol="grpc", model={"runtime": "kserve-ext-triton-grpc"}), "grpc.yaml"
    )
    receipt = product.json("apply", manifest, "--yes", "--timeout", "3m", "--quiet")
    assert (receipt["ready"], receipt["number"]) == (True, 1)
    pictures, _ = images(20)
    with product.client("digits-grpc", grpc=True) as client:
        answer = client.infer("digits", {"image": pictures}, timeout_s=20)
    np.testing.assert_allclose(answer["scores"], answers_here(pictures)["scores"], atol=1e-5)
    product.run("delete", "digits-grpc", "--yes")


def test_what_was_planned_is_what_knative_and_the_pod_carry(product: Product) -> None:
    plan = plan_values(product)
    service = product.kind("services.serving.knative.dev", "digits-predictor")
    name = service["status"]["latestReadyRevisionName"]
    revision = product.kind("revision", name)
    scaler = product.kind("podautoscalers.autoscaling.internal.knative.dev", name)
    scaling = plan["scaling"]
    wanted = {
        "min-scale": str(scaling["min_replicas"]), "max-scale": str(scaling["max_replicas"]), "metric": scaling["metric"],
        "window": f"{round(scaling['window_s'])}s", "target-burst-capacity": str(scaling["target_burst_capacity"]),
    }  # fmt: skip
    for carried in (service["spec"]["template"]["metadata"], revision["metadata"], scaler["metadata"]):
        found = {key.removeprefix(AUTOSCALING): value for key, value in carried["annotations"].items()}
        assert {key: found.get(key) for key in wanted} == wanted
        assert float(found["target"]) == pytest.approx(scaling["target"], abs=0.001)
    assert (
        revision["spec"]["containerConcurrency"] == plan["concurrency_limit"] == scaler["spec"]["containerConcurrency"]
    )
    (pod,) = product.cluster.ready_pods(product.namespace, f"serving.knative.dev/revision={name}")
    container = next(one for one in pod["spec"]["containers"] if one["name"] == "kserve-container")
    assert f"--model-config-name={plan['hardware']}" in container["args"]
    assert container["resources"]["limits"]["cpu"] == "1"


def test_triton_runs_the_planned_batching(product: Product) -> None:
    answer = product.cluster.ask(support.host_of("digits", product.namespace), "/v2/models/digits/config").json()
    (stage,) = plan_values(product)["stages"]
    assert answer["max_batch_size"] == stage["max_batch_size"]
    assert answer["instance_group"][0]["count"] == stage["instances"]
    assert "dynamic_batching" in answer


def test_the_same_again_changes_nothing(product: Product) -> None:
    before = product.kind("services.serving.knative.dev", "digits-predictor")["metadata"]["generation"]
    bundle = str(product.folder / "rendered" / "digits")
    assert product.json("diff", bundle)["differs"] is False
    receipt = product.json("apply", bundle, "--quiet")  # nothing to ask: nothing changes
    assert (receipt["number"], {diff["action"] for diff in receipt["diffs"]}) == (1, {"same"})
    assert product.kind("services.serving.knative.dev", "digits-predictor")["metadata"]["generation"] == before


def test_a_bundle_that_kubectl_applied_is_no_difference(product: Product) -> None:
    product.cluster.kubectl(
        "--namespace", product.namespace, "apply", "-k", str(product.folder / "rendered" / "digits")
    )
    assert product.json("diff", str(product.folder / "rendered" / "digits"))["differs"] is False


def test_a_difference_is_told_by_field_and_exits_with_one(product: Product) -> None:
    changed = product.changed("other", maxReplicas=7)
    for how in ("client", "server"):
        done = product.run("diff", changed, "--dry-run", how, code=1)
        assert "spec.predictor.maxReplicas: " in done.stdout
        assert "→ 7" in done.stdout
        assert "a new Revision" in done.stdout
    assert product.kind("inferenceservice", "digits")["spec"]["predictor"]["maxReplicas"] != 7


def test_a_field_that_somebody_edited_is_a_conflict_that_can_be_taken_over(product: Product) -> None:
    edit = json.dumps({"spec": {"predictor": {"maxReplicas": 9}}})
    patch = (
        "--namespace",
        product.namespace,
        "patch",
        "isvc",
        "digits",
        "--type=merge",
        "--field-manager=kubectl-edit",
        "-p",
        edit,
    )
    product.cluster.kubectl(*patch)
    bundle = str(product.folder / "rendered" / "digits")
    refused = product.run("apply", bundle, "--yes", code=2)
    assert "spec.predictor.maxReplicas: 9 by kubectl-edit (a person with `kubectl edit`)" in refused.stderr
    assert "--force-conflicts" in refused.stderr
    assert product.kind("inferenceservice", "digits")["spec"]["predictor"]["maxReplicas"] == 9
    product.run("apply", bundle, "--yes", "--force-conflicts", "--timeout", "3m")
    planned = plan_values(product)["scaling"]["max_replicas"]
    assert product.kind("inferenceservice", "digits")["spec"]["predictor"]["maxReplicas"] == planned
    assert product.json("diff", bundle)["differs"] is False


def test_what_a_bundle_no_longer_has_is_shown_and_goes_when_the_service_is_ready(product: Product) -> None:
    bundle, more = str(product.folder / "rendered" / "digits"), Path(product.changed("more"))
    rules = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "digits-rules"}, "data": {"a": "1"}}
    (more / "rules.yaml").write_text(yaml.safe_dump(rules))
    listed = yaml.safe_load((more / "kustomization.yaml").read_text())
    listed["resources"].append("rules.yaml")
    (more / "kustomization.yaml").write_text(yaml.safe_dump(listed))
    product.run("apply", str(more), "--yes", "--timeout", "3m")
    product.cluster.apply({**rules, "metadata": {"name": "digits-theirs"}}, product.namespace)

    gone = {"ConfigMap digits-rules"}
    assert "ConfigMap digits-rules goes" in product.run("diff", bundle, code=1).stdout
    dry = product.json("apply", bundle, "--dry-run", "server")
    assert deleted(dry["objects"]) == gone
    product.kind("configmap", "digits-rules")
    receipt = product.json("apply", bundle, "--yes", "--timeout", "3m", "--quiet")
    assert deleted(receipt["diffs"]) == gone
    left = {one["metadata"]["name"] for one in product.cluster.list("configmaps", product.namespace)}
    assert left >= {"digits-plan", "digits-theirs"}
    assert "digits-rules" not in left
    assert product.json("diff", bundle)["differs"] is False


def deleted(diffs: list[Object]) -> set[str]:
    return {f"{diff['ref']['kind']} {diff['ref']['name']}" for diff in diffs if diff["action"] == "delete"}


def test_status_says_what_runs_and_logs_what_it_says(product: Product) -> None:
    status = product.json("status", "digits")
    assert (status["phase"], status["mode"], status["causes"]) == ("ready", "Knative", [])
    assert status["bundle"]["outcome"] == "good"
    assert status["planned"]["slo"]["p99_s"] == 0.25
    assert [share["percent"] for share in status["traffic"]] == [100]
    assert "successfully loaded 'digits'" in product.run("logs", "digits").stdout
    assert "queue-proxy" not in product.run("logs", "digits", "--tail", "1").stdout
    assert product.run("wait", "digits", "--timeout", "30s").stdout.startswith("digits is ready")
    assert [one["name"] for one in product.json("status")] == ["digits"]


def test_verify_finds_the_service_and_prints_predicted_beside_measured(product: Product) -> None:
    samples = str(Path("model_repo/digits/samples.json").absolute())
    found = product.json(
        "verify", "--isvc", "digits", "--via", f"http://{product.cluster.ingress}", "--samples", samples, "--rate", "30rps",
        "--slo-p99", "5s", "--duration", "20s", code=None,
    )  # fmt: skip
    assert found["measurement"]["failed"] == 0
    assert found["measurement"]["sent"] > 400
    assert found["replicas"] == 1
    assert 0 < found["predicted"]["p99_s"] < 0.25


def test_the_linter_judges_by_the_live_cluster(product: Product) -> None:
    wanted = digits("elsewhere", nodeSelector={"accelerator": "none-such"})
    file = product.write(wanted, "lint.yaml")
    done = product.alone("lint", file, "--cluster", "-o", "json", code=1)
    assert "KX802" in {finding["rule"] for finding in json.loads(done.stdout)["findings"]}


def test_the_fleet_of_the_cluster_has_its_slices(product: Product) -> None:
    assert "1g.10gb" in product.alone("fleet", "show", "--from-cluster", "-o", "json").stdout


def test_a_delete_takes_away_all_that_was_applied_and_nothing_else(product: Product) -> None:
    product.run(
        "apply", str(product.folder / "rendered" / "digits"), "--yes", "--timeout", "3m"
    )  # as it was, whatever ran before
    gone = {each["kind"] for each in product.json("delete", "digits", "--dry-run", "server")["deleted"]}
    assert gone == {"InferenceService", "ServingRuntime", "ConfigMap"}
    product.kind("inferenceservice", "digits")
    product.run("delete", "digits", "--yes")
    left = product.cluster.list("configmaps", product.namespace)
    support.poll("its history goes with it", lambda: not [
        one for one in product.cluster.list("configmaps", product.namespace) if "bundle" in one["metadata"]["name"]
    ], seconds=30)  # fmt: skip
    assert "digits-plan" not in {one["metadata"]["name"] for one in left}
    assert product.cluster.list("persistentvolumeclaims", product.namespace)
    assert "no such InferenceService" in product.run("status", "digits", code=2).stderr
