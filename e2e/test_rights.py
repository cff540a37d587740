"""The rights that manifests/ give are enough for each part, and no more."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import product
from e2e.served import models, written_down
from e2e.support import Cluster, KubectlError

__all__ = ["models", "written_down"]  # the fixtures

DEPLOYER, VIEWER, NOBODY = "kserve-ext-deployers", "kserve-ext-viewers", "nobody-in-particular"


@pytest.mark.parametrize(
    ("group", "verb", "resource", "allowed"),
    [
        (VIEWER, "get", "inferenceservices.serving.kserve.io", True),
        (VIEWER, "get", "pods --subresource=log", True),
        (VIEWER, "patch", "inferenceservices.serving.kserve.io", False),
        (VIEWER, "create", "configmaps", False),
        (VIEWER, "get", "secrets", False),
        (VIEWER, "create", "pods --subresource=exec", False),
        (DEPLOYER, "patch", "inferenceservices.serving.kserve.io", True),
        (DEPLOYER, "delete", "inferenceservices.serving.kserve.io", True),
        (DEPLOYER, "patch", "servingruntimes.serving.kserve.io", True),
        (DEPLOYER, "get", "pods --subresource=log", True),
        (DEPLOYER, "get", "secrets", False),
        (DEPLOYER, "list", "secrets", False),
        (DEPLOYER, "create", "pods", False),
        (DEPLOYER, "delete", "pods", False),
        (DEPLOYER, "create", "pods --subresource=exec", False),
        (DEPLOYER, "patch", "services.serving.knative.dev", False),
        (DEPLOYER, "patch", "deployments.apps", True),  # placeholders
        (DEPLOYER, "patch", "daemonsets.apps", False),
        (DEPLOYER, "patch", "clusterservingruntimes.serving.kserve.io", False),
        (DEPLOYER, "create", "rolebindings.rbac.authorization.k8s.io", False),
        (DEPLOYER, "create", "serviceaccounts --subresource=token", False),
        (DEPLOYER, "deletecollection", "inferenceservices.serving.kserve.io", False),
        (DEPLOYER, "impersonate", "users", False),
        (NOBODY, "get", "inferenceservices.serving.kserve.io", False),
    ],
)
def test_each_part_may_do_what_it_needs_and_no_more(
    cluster: Cluster, models: str, group: str, verb: str, resource: str, allowed: bool
) -> None:
    assert can_i(cluster, models, verb, resource, group) is allowed


def test_rights_end_at_the_namespace(cluster: Cluster, models: str) -> None:
    isvc = "inferenceservices.serving.kserve.io"
    assert can_i(cluster, models, "patch", isvc, DEPLOYER)
    assert not can_i(cluster, "default", "patch", isvc, DEPLOYER)
    assert not can_i(cluster, "default", "get", isvc, VIEWER)


def test_the_account_of_models_may_do_nothing_and_has_no_token(cluster: Cluster, models: str) -> None:
    account = f"system:serviceaccount:{models}:default"
    for verb, resource in (("get", "pods"), ("get", "secrets"), ("get", "inferenceservices.serving.kserve.io")):
        done = can_i_as(cluster, models, verb, resource, "--as", account)
        assert done is False
    assert cluster.get("serviceaccount", "default", models)["automountServiceAccountToken"] is False


def test_a_deployer_deploys_rolls_back_and_deletes_and_a_viewer_only_looks(
    cluster: Cluster, models: str, tmp_path: Path
) -> None:
    deployer, viewer = (
        product.Product(cluster=identity(cluster, models, tmp_path, role), namespace=models, folder=tmp_path)
        for role in ("deployer", "viewer")
    )
    bundle = str(deployer.render(product.digits("by-deployer"), "rendered"))
    assert "may not patch servingruntimes" in viewer.run("apply", bundle, "--yes", code=2).stderr
    deployer.run("apply", bundle, "--yes", "--timeout", "3m")
    assert viewer.json("status", "by-deployer")["phase"] == "ready"
    viewer.run("wait", "by-deployer")
    assert "by-deployer" in viewer.run("logs", "by-deployer").stdout
    assert viewer.json("diff", bundle, "--dry-run", "client")["differs"] is False
    deployer.run("diff", bundle)
    assert "may not" in viewer.run("delete", "by-deployer", "--yes", code=2).stderr
    deployer.run("rollback", "by-deployer", "--to", "1")  # what runs already: nothing to ask
    deployer.run("delete", "by-deployer", "--yes")


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


def identity(cluster: Cluster, namespace: str, folder: Path, role: str) -> Cluster:
    """The cluster as an account sees it that is bound as manifests/models binds a group."""
    bound = ["viewer"] if role == "viewer" else ["viewer", "deployer"]
    account = {"kind": "ServiceAccount", "name": role, "namespace": namespace}
    objects: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": role}}]
    for one in bound:
        ref = {"kind": "ClusterRole", "name": f"kserve-ext-{one}", "apiGroup": "rbac.authorization.k8s.io"}
        objects.append(
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": f"{role}-{one}"},
             "subjects": [account], "roleRef": ref}
        )  # fmt: skip
    cluster.apply(objects, namespace)
    token = cluster.kubectl("-n", namespace, "create", "token", role, "--duration=30m").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    cache = folder / f"as-{role}"
    cache.mkdir()
    (cache / cluster.kubeconfig.name).write_text(yaml.safe_dump(config))
    return replace(cluster, given=replace(cluster.given, cache=cache))


def can_i(cluster: Cluster, namespace: str, verb: str, resource: str, group: str) -> bool:
    return can_i_as(cluster, namespace, verb, resource, "--as", "jane", "--as-group", group)


def can_i_as(cluster: Cluster, namespace: str, verb: str, resource: str, *who: str) -> bool:
    """What the API server says; kubectl ends with 1 for a no."""
    done = cluster.attempt("-n", namespace, "auth", "can-i", verb, *resource.split(), *who)
    assert done.stdout.strip() in ("yes", "no"), done.stderr
    return done.stdout.strip() == "yes"
