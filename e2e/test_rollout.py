"""Changes while requests come: nothing is lost; a canary gets its share; what was good before can be had again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from e2e import support
from e2e.load import Load
from e2e.product import Product, digits, lay_config, made_namespace, planned_models
from e2e.support import Cluster


@pytest.fixture(scope="module")
def product(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A namespace with the digits service, one replica."""
    with made_namespace(cluster, "rollout") as namespace, planned_models(cluster, namespace):
        made = Product(cluster=cluster, namespace=namespace, folder=tmp_path_factory.mktemp("rollout"))
        bundle = made.render(digits(), "rendered")
        lay_config(cluster, namespace, bundle)
        made.run("apply", str(bundle), "--yes", "--timeout", "3m")
        yield made


def revision(product: Product) -> str:
    return str(product.kind("services.serving.knative.dev", "digits-predictor")["status"]["latestReadyRevisionName"])


def shares(product: Product) -> dict[str, int]:
    """Percent of the traffic by revision."""
    return {
        share["revision"]: share["percent"]
        for share in product.json("status", "digits", code=None)["traffic"]
        if share["percent"]
    }


def test_a_rolling_update_under_load_loses_no_request(product: Product) -> None:
    before = revision(product)
    with Load(product.cluster, product.namespace, 40) as load:
        receipt = product.json("apply", product.changed("update", timeout=77), "--yes", "--timeout", "3m", "--quiet")
    assert receipt["ready"]
    assert revision(product) != before
    load.check_nothing_lost()
    assert load.result.ok.size > 600


def test_a_scale_down_under_load_loses_no_request(product: Product) -> None:
    name = revision(product)
    selector = f"serving.knative.dev/revision={name}"

    def floor(replicas: int) -> None:
        """Hold this many, by the annotation that the live Revision is scaled by."""
        annotation = {"autoscaling.knative.dev/min-scale": str(replicas)}
        product.cluster.patch("revision", name, product.namespace, {"metadata": {"annotations": annotation}})

    def ready(replicas: int) -> bool:
        return len(product.cluster.ready_pods(product.namespace, selector)) == replicas

    floor(2)
    support.poll("two replicas are ready", lambda: ready(2), seconds=90)
    with Load(product.cluster, product.namespace, 60) as load:
        floor(1)
        support.poll("one replica is left", lambda: ready(1), seconds=55)
    load.check_nothing_lost()


def test_a_rollback_under_load_loses_no_request_and_brings_the_last_good_bundle_back(product: Product) -> None:
    product.run("apply", str(product.folder / "rendered" / "digits"), "--yes", "--timeout", "3m")
    planned = product.kind("isvc", "digits")["spec"]["predictor"]["timeout"]
    product.run("apply", product.changed("later", timeout=88), "--yes", "--timeout", "3m")
    with Load(product.cluster, product.namespace, 30) as load:
        receipt = product.json("rollback", "digits", "--yes", "--timeout", "3m", "--quiet")
    assert receipt["ready"]
    assert product.kind("isvc", "digits")["spec"]["predictor"]["timeout"] == planned
    load.check_nothing_lost()


def test_a_bundle_that_never_gets_ready_leaves_the_old_one_serving_and_is_passed_over(product: Product) -> None:
    product.run("apply", str(product.folder / "rendered" / "digits"), "--yes", "--timeout", "3m")
    good = revision(product)
    broken = product.changed("broken", nodeSelector={"disk": "none-such"})
    with Load(product.cluster, product.namespace, 25) as load:
        done = product.run("apply", broken, "--yes", "--timeout", "15s", code=1)
    assert "no node has the labels" in done.stderr
    assert f"kserve-ext rollback digits -n {product.namespace}" in done.stderr
    load.check_nothing_lost()
    status = product.json("status", "digits", code=1)
    assert status["bundle"]["outcome"] == "failed"
    assert shares(product) == {good: 100}
    product.run("rollback", "digits", "--yes", "--timeout", "3m")
    assert product.json("status", "digits")["bundle"]["outcome"] == "good"
    assert "nodeSelector" not in product.kind("isvc", "digits")["spec"]["predictor"]


def test_an_atomic_apply_that_fails_goes_back_by_itself(product: Product) -> None:
    product.run("apply", str(product.folder / "rendered" / "digits"), "--yes", "--timeout", "3m")
    broken = product.changed("broken", nodeSelector={"disk": "none-such"})
    done = product.run("apply", broken, "--yes", "--atomic", "--timeout", "15s", code=1)
    assert "is applied again" in done.stderr
    product.run("wait", "digits", "--timeout", "2m")
    assert product.json("diff", str(product.folder / "rendered" / "digits"))["differs"] is False


def test_a_canary_gets_its_share_is_promoted_and_is_taken_back(product: Product) -> None:
    base = str(product.folder / "rendered" / "digits")
    number = product.json("apply", base, "--yes", "--timeout", "3m", "--quiet")["number"]
    stable = revision(product)

    product.run("apply", product.changed("canary", timeout=55, canaryTrafficPercent=25), "--yes", "--timeout", "3m")
    support.poll("the traffic is split", lambda: len(shares(product)) == 2, seconds=60)
    canary = revision(product)
    assert shares(product) == {stable: 75, canary: 25}
    counted_before = counted(product, stable, canary)
    with Load(product.cluster, product.namespace, 20) as load:
        pass
    load.check_nothing_lost()
    after = counted(product, stable, canary)
    served = {name: after[name] - counted_before[name] for name in after}
    share = served[canary] / sum(served.values())
    assert 0.15 < share < 0.35, served  # of about 400 requests: four standard deviations around 0.25

    product.run("apply", product.changed("promoted", timeout=55), "--yes", "--timeout", "3m")
    support.poll("all traffic goes to the canary", lambda: shares(product) == {canary: 100} or None, seconds=60)
    assert "timeout: 55" in yaml.safe_dump(product.kind("isvc", "digits")["spec"]["predictor"])

    product.run("rollback", "digits", "--to", str(number), "--yes", "--timeout", "3m")
    assert product.json("diff", base)["differs"] is False


def counted(product: Product, *revisions: str) -> dict[str, int]:
    """Requests that Triton has answered in the pods of each revision, by its own count."""
    found = {}
    for name in revisions:
        found[name] = 0
        for pod in product.cluster.ready_pods(product.namespace, f"serving.knative.dev/revision={name}"):
            path = f"/api/v1/namespaces/{product.namespace}/pods/{pod['metadata']['name']}:8080/proxy/v2/models/digits/stats"
            (stats,) = yaml.safe_load(product.cluster.kubectl("get", "--raw", path))["model_stats"]
            found[name] += int(stats["inference_stats"]["success"]["count"])
    return found


def test_the_history_is_listed(product: Product) -> None:
    rows = product.json("rollback", "digits", "--list")
    assert [row["number"] for row in rows] == sorted(row["number"] for row in rows)
    assert "good" in {row["outcome"] for row in rows}
    assert len(rows) <= 11
