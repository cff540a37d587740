"""What is applied to a cluster, as far as it can be judged without one: schemas, rights, network, names of images."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kserve_ext.intent.annotations import ANNOTATIONS, NOT_INTENT, PREFIX

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
EXAMPLES = sorted([*(MANIFESTS / "examples").rglob("*.yaml"), *ROOT.glob("predictors/*/inferenceservice.yaml")])
CRDS = {"InferenceService": "inferenceservices", "ClusterServingRuntime": "servingruntimes"}
OURS = ("kserve-ext-digits", "kserve-ext-embed", "kserve-ext-router")

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")


def documents(*files: Path) -> Iterator[dict[str, Any]]:
    for file in files:
        yield from (found for found in yaml.safe_load_all(file.read_text()) if found)


def of_kind(kind: str, folder: Path = MANIFESTS) -> list[dict[str, Any]]:
    return [found for found in documents(*sorted(folder.rglob("*.yaml"))) if found.get("kind") == kind]


def kustomized(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def schema(kind: str) -> dict[str, Any]:
    path = ROOT / f"tests/data/kserve-crd/{CRDS[kind]}.json.gz"
    loaded: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return loaded


# ---------------------------------------------------------------------------------------------------------- as a whole


@needs_kubectl
@pytest.mark.parametrize("folder", [".", "base", "models", "policies", "monitoring"])
def test_every_kustomization_builds_and_names_nothing_twice(folder: str) -> None:
    objects = kustomized(MANIFESTS / folder)
    names = [(found["kind"], found["metadata"].get("namespace"), found["metadata"]["name"]) for found in objects]
    assert len(set(names)) == len(names) > 0


@needs_kubectl
def test_another_registry_is_a_matter_of_one_kustomization(tmp_path: Path) -> None:
    files = [MANIFESTS / "base", *(file for file in EXAMPLES if "InferenceService" in file.read_text())]
    content = {
        "resources": [os.path.relpath(file, tmp_path) for file in files],
        "configurations": [str(MANIFESTS / "image-fields.yaml")],
        "images": [{"name": name, "newName": f"registry.example/{name}", "newTag": "9"} for name in OURS],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    text = yaml.safe_dump(kustomized(tmp_path))
    for name in OURS:
        assert f"image: registry.example/{name}:9" in text
        assert f"image: {name}" not in text


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_kserve_s_schema_takes_every_example(file: Path) -> None:
    for found in documents(file):
        if found.get("kind") in CRDS:
            jsonschema.Draft7Validator(schema(found["kind"])).validate(found)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_example_names_a_runtime_that_the_base_brings(file: Path) -> None:
    there = {runtime["metadata"]["name"] for runtime in of_kind("ClusterServingRuntime")}
    for found in documents(file):
        model = found.get("spec", {}).get("predictor", {}).get("model", {}) if "spec" in found else {}
        if found.get("kind") == "InferenceService" and "fleet" not in str(file):
            assert model.get("runtime", "kserve-ext-triton") in there


# ------------------------------------------------------------------------------------------------------ rights


@pytest.mark.parametrize("role", of_kind("ClusterRole"), ids=lambda role: str(role["metadata"]["name"]))
def test_no_role_reaches_for_what_its_part_does_not_use(role: dict[str, Any]) -> None:
    for rule in role["rules"]:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert not {"secrets", "pods/exec", "pods/attach", "serviceaccounts/token"} & set(rule["resources"])
        assert not {"impersonate", "bind", "escalate"} & set(rule["verbs"])


def test_only_the_deployer_changes_anything_and_only_what_a_bundle_holds() -> None:
    changing = {
        (role["metadata"]["name"], resource)
        for role in of_kind("ClusterRole")
        for rule in role["rules"]
        for resource in rule["resources"]
        if not set(rule["verbs"]) <= {"get", "list", "watch"} and role["metadata"]["name"] in USER_ROLES
    }
    held = (
        "inferenceservices", "servingruntimes", "configmaps", "horizontalpodautoscalers", "scaledobjects",
        "verticalpodautoscalers", "deployments",
    )  # fmt: skip
    assert changing == {("kserve-ext-deployer", resource) for resource in held}


USER_ROLES = ("kserve-ext-viewer", "kserve-ext-deployer", "kserve-ext-planner")


def test_models_carry_no_token() -> None:
    (account,) = of_kind("ServiceAccount", MANIFESTS / "models")
    assert (account["metadata"]["name"], account["automountServiceAccountToken"]) == ("default", False)


# ------------------------------------------------------------------------------------------------------ namespaces


def test_every_namespace_is_restricted() -> None:
    namespaces = of_kind("Namespace")
    assert {found["metadata"]["name"] for found in namespaces} >= {"kserve-ext", "models"}
    for found in namespaces:
        for what in ("enforce", "warn", "audit"):
            assert found["metadata"]["labels"][f"pod-security.kubernetes.io/{what}"] == "restricted"


@pytest.mark.parametrize("folder", ["base", "models"])
def test_a_namespace_starts_from_nothing_in_and_nothing_out(folder: str) -> None:
    policies = {found["metadata"]["name"]: found["spec"] for found in of_kind("NetworkPolicy", MANIFESTS / folder)}
    assert policies.pop("default-deny") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, spec in policies.items():
        for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
            assert rule.get("ports") or rule.get("to"), name  # never everything to everyone


def test_nothing_comes_into_a_model_s_namespace_but_requests_looks_at_counters_and_transformers() -> None:
    sources = set()
    for found in of_kind("NetworkPolicy", MANIFESTS / "models"):
        for rule in found["spec"].get("ingress", ()):
            assert rule["from"], found["metadata"]["name"]
            for peer in rule["from"]:
                assert "ipBlock" not in peer
                sources |= names_of(peer)
    assert sources == {
        "knative-serving", "kourier-system", "envoy-gateway-system", "istio-system", "ingress-nginx", "monitoring",
        "component=transformer", "app.kubernetes.io/name=kserve-ext-operator",
    }  # fmt: skip


def names_of(peer: dict[str, Any]) -> set[str]:
    if "podSelector" in peer:
        return {f"{key}={value}" for key, value in peer["podSelector"]["matchLabels"].items()}
    selector = peer["namespaceSelector"]
    labels = set(selector.get("matchLabels", {}).values())
    return labels | {value for one in selector.get("matchExpressions", ()) for value in one["values"]}


def test_a_budget_never_stops_a_drain_for_good_and_covers_a_pod_once() -> None:
    (budget,) = of_kind("PodDisruptionBudget", MANIFESTS / "models")
    assert budget["spec"]["maxUnavailable"] == 1


def test_placeholders_evict_nobody_and_give_way_to_models() -> None:
    classes = {found["metadata"]["name"]: found for found in of_kind("PriorityClass")}
    placeholder, serving = classes["kserve-ext-placeholder"], classes["kserve-ext-serving"]
    assert placeholder["value"] < 0 < serving["value"] < 10**9
    assert placeholder["preemptionPolicy"] == "Never"
    assert not any(found.get("globalDefault") for found in classes.values())


def test_the_quota_limits_nothing_that_knative_s_proxy_leaves_open() -> None:
    (quota,) = of_kind("ResourceQuota")
    assert not {"limits.cpu", "limits.memory"} & set(quota["spec"]["hard"])
    (limits,) = of_kind("LimitRange")
    assert set(limits["spec"]["limits"][0]["defaultRequest"]) == {"cpu", "memory"}


# ------------------------------------------------------------------------------------------------------ policies


def test_every_policy_about_services_is_bound_twice_refusing_where_it_is_asked_to_and_warning_elsewhere() -> None:
    bindings = of_kind("ValidatingAdmissionPolicyBinding")
    for policy in of_kind("ValidatingAdmissionPolicy", MANIFESTS / "policies"):
        bound = {
            found["spec"]["validationActions"][0]: found["spec"]["matchResources"]["namespaceSelector"]
            for found in bindings
            if found["spec"]["policyName"] == policy["metadata"]["name"]
        }
        assert bound["Deny"]["matchExpressions"][0]["operator"] == "In"
        assert bound["Warn"]["matchExpressions"][0]["operator"] == "NotIn"
        assert policy["spec"]["failurePolicy"] == "Ignore"


def test_what_holds_the_operator_back_names_its_own_account_and_has_no_exception() -> None:
    (policy,) = of_kind("ValidatingAdmissionPolicy", MANIFESTS / "operator")
    (binding,) = of_kind("ValidatingAdmissionPolicyBinding", MANIFESTS / "operator")
    (account,) = [
        found["metadata"]["name"]
        for found in of_kind("ServiceAccount", MANIFESTS / "operator")
        if found["metadata"]["name"].endswith("-operator")
    ]
    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"] == f'request.userInfo.username == "system:serviceaccount:kserve-ext:{account}"'
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}


def test_the_policy_knows_the_annotations_that_the_package_knows() -> None:
    policy = next(
        found for found in of_kind("ValidatingAdmissionPolicy") if found["metadata"]["name"] == "kserve-ext-annotations"
    )
    variables = {variable["name"]: variable["expression"] for variable in policy["spec"]["variables"]}
    known = {row.key for row in ANNOTATIONS} | {name.removeprefix(PREFIX) for name in NOT_INTENT}
    assert set(json.loads(variables["known"])) == known, "list them in manifests/policies/annotations.yaml"
