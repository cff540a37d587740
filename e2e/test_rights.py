"""The rights of manifests/base are enough to deploy, and no more is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from e2e.product import ROOT, Product, digits, made_namespace, planned_models
from e2e.support import Cluster, KubectlError, Object

ROLES = "manifests/base/roles.yaml"


@pytest.fixture
def product(cluster: Cluster, tmp_path: Path) -> Iterator[Product]:
    with made_namespace(cluster, "rights") as namespace, planned_models(cluster, namespace):
        yield Product(cluster=cluster, namespace=namespace, folder=tmp_path)


def role(name: str) -> Object:
    """A ClusterRole of ours as a Role, so that the test changes nothing outside its namespace."""
    found = next(
        one
        for one in yaml.safe_load_all((ROOT / ROLES).read_text())
        if one["metadata"]["name"] == name and "rules" in one
    )
    return {"apiVersion": found["apiVersion"], "kind": "Role", "metadata": {"name": name}, "rules": found["rules"]}


def as_account(product: Product, name: str, *roles: str) -> list[str]:
    """Options under which a command runs as a service account with these roles."""
    cluster, namespace = product.cluster, product.namespace
    cluster.apply(
        [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, *map(role, roles)], namespace
    )
    for each in roles:
        account = f"--serviceaccount={namespace}:{name}"
        cluster.kubectl("-n", namespace, "create", "rolebinding", f"{name}-{each}", f"--role={each}", account)
    token = cluster.kubectl("-n", namespace, "create", "token", name).strip()
    kubeconfig = product.folder / f"{name}.kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    config = ("config", f"--kubeconfig={kubeconfig}")
    cluster.kubectl(*config, "set-credentials", name, f"--token={token}")
    cluster.kubectl(*config, "set-context", name, f"--cluster=kind-{cluster.given.name}", f"--user={name}")
    return ["--kubeconfig", str(kubeconfig), "--context", name]


def test_a_deployer_deploys_rolls_back_and_deletes_and_a_viewer_only_looks(product: Product) -> None:
    deployer = as_account(product, "deployer", "kserve-ext-viewer", "kserve-ext-deployer")
    viewer = as_account(product, "viewer", "kserve-ext-viewer")
    bundle = str(product.render(digits(), "rendered"))
    product.run("apply", bundle, "--yes", "--timeout", "3m", *deployer)
    assert product.json("status", "digits", *viewer)["phase"] == "ready"
    assert "digits" in product.run("logs", "digits", *viewer).stdout
    assert product.json("diff", bundle, "--dry-run", "client", *viewer)["differs"] is False
    assert "may not" in product.run("delete", "digits", "--yes", *viewer, code=2).stderr
    product.run("rollback", "digits", "--to", "1", *deployer)  # what runs already: nothing to ask
    product.run("delete", "digits", "--yes", *deployer)


@pytest.mark.parametrize(
    ("name", "priority", "allowed"),
    [
        ("digits-placeholder", "kserve-ext-placeholder", True),
        ("digits-predictor", "kserve-ext-placeholder", False),
        ("digits-placeholder", "kserve-ext-serving", False),
    ],
    ids=["room for replicas", "another name", "another priority"],
)
def test_the_operator_writes_no_deployments_but_those_that_keep_room(
    cluster: Cluster, namespace: str, name: str, priority: str, allowed: bool
) -> None:
    pod = {"priorityClassName": priority, "containers": [{"name": "a", "image": "a"}]}
    labels = {"app": "a"}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }  # fmt: skip
    cluster.apply(deployment, namespace)  # as anybody
    as_operator = (
        "-n",
        namespace,
        "--as=system:serviceaccount:kserve-ext:kserve-ext-operator",
        "delete",
        "deployment",
        name,
    )
    with (
        nullcontext() if allowed else pytest.raises(KubectlError, match="may write Deployments named NAME-placeholder")
    ):
        cluster.kubectl(*as_operator)
