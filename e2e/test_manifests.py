"""manifests/ on a real cluster: what is applied runs, and what must not be is refused, each by what is there to refuse it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from e2e import examples, product, support
from e2e.network import Network
from e2e.support import Cluster, KubectlError
from kserve_ext.client import Client

DEPLOYER, VIEWER, NOBODY = "kserve-ext-deployers", "kserve-ext-viewers", "nobody-in-particular"
RUNTIMES = ("triton", "triton-grpc", "triton-standard", "predictor", "predictor-grpc", "predictor-standard")


@pytest.fixture(scope="module")
def models(cluster: Cluster) -> Iterator[str]:
    """A namespace as manifests/models makes it: restricted, default-deny, policies enforced."""
    with examples.models_namespace(cluster, "manifests") as name:
        yield name


@pytest.fixture(autouse=True)
def written_down(request: pytest.FixtureRequest, models: str) -> None:
    request.node.user_properties.append(("namespace", models))


@pytest.fixture
def serve(cluster: Cluster, models: str) -> Iterator[Callable[..., str]]:
    """Apply an example and wait until it is ready; it goes when the test ends."""
    made: list[str] = []

    def serve(path: str, edit: Callable[[dict[str, Any]], object] = lambda _: None) -> str:
        manifest = examples.read(path)
        edit(manifest)
        made.append(manifest["metadata"]["name"])
        cluster.apply(manifest, models)
        cluster.wait_ready("isvc", made[-1], models, seconds=240)
        return made[-1]

    yield serve
    for name in made:
        cluster.kubectl("-n", models, "delete", "isvc", name, "--wait=false", "--ignore-not-found")


def check_digits(address: str, model: str = "digits", authority: str | None = None) -> None:
    pictures, _ = product.images(6)
    with Client(address, authority=authority) as client:
        answers = client.infer(model, {"image": pictures}, timeout_s=60)
    np.testing.assert_allclose(answers["scores"], product.answers_here(pictures)["scores"], atol=1e-5)


# ------------------------------------------------------------------------------------------------------ the base


def test_the_base_is_applied_whole_and_applying_it_again_changes_nothing(cluster: Cluster) -> None:
    there = {found["metadata"]["name"] for found in cluster.list("clusterservingruntimes", "default")}
    assert there >= {f"kserve-ext-{name}" for name in RUNTIMES}
    # kubectl diff ends with 1 where something differs
    cluster.kubectl("diff", "--server-side", "--force-conflicts", "-k", examples.ROOT / "manifests")


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


def test_the_command_line_works_with_the_deployer_s_rights_and_only_with_those(
    cluster: Cluster, models: str, tmp_path: Path
) -> None:
    deployer, viewer = (
        product.Product(cluster=identity(cluster, models, tmp_path, role), namespace=models, folder=tmp_path)
        for role in ("deployer", "viewer")
    )
    bundle = str(deployer.render(product.digits("by-deployer"), "rendered"))
    refused = viewer.run("apply", bundle, "--yes", code=2)
    assert "may not patch servingruntimes" in refused.stderr
    deployer.run("apply", bundle, "--yes", "--timeout", "3m")
    for words in (("status", "by-deployer"), ("wait", "by-deployer"), ("logs", "by-deployer")):
        viewer.run(*words)
    deployer.run("diff", bundle)
    viewer.run("delete", "by-deployer", "--yes", code=2)
    deployer.run("delete", "by-deployer", "--yes")


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
    command = [cluster.program, "--kubeconfig", cluster.kubeconfig, "-n", namespace, "auth", "can-i", verb]
    done = subprocess.run(
        [*map(str, command), *resource.split(), *who], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() in ("yes", "no"), done.stderr
    return done.stdout.strip() == "yes"


# ------------------------------------------------------------------------------------------------------ what is refused


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
    command = [
        cluster.program,
        "--kubeconfig",
        cluster.kubeconfig,
        "-n",
        namespace,
        "apply",
        "--dry-run=server",
        "-f",
        "-",
    ]
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, check=False)
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


# ------------------------------------------------------------------------------------------------------ examples


def test_a_triton_model_from_a_claim_is_served_in_a_restricted_namespace(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    name = serve("manifests/examples/digits.yaml")
    check_digits(f"http://{cluster.ingress}", authority=support.host_of(name, models))
    network = Network.read(cluster, models)
    check_network(cluster, network, models, name)


def test_a_model_image_is_served(cluster: Cluster, namespace: str, model_image: str) -> None:
    manifest = examples.read("manifests/examples/digits-image.yaml")
    assert manifest["spec"]["predictor"]["model"]["storageUri"] == f"oci://{model_image}"
    cluster.apply(manifest, namespace)
    cluster.wait_ready("isvc", "digits-image", namespace, seconds=240)
    check_digits(f"http://{cluster.ingress}", authority=support.host_of("digits-image", namespace))


@pytest.fixture(scope="module")
def model_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image that the example names, built with model_repo/Dockerfile and loaded into the nodes."""
    folder = tmp_path_factory.mktemp("image")
    shutil.copytree(examples.MODELS / "digits" / "1", folder / "digits" / "1", copy_function=examples.link)
    shutil.copy(examples.MODELS / "digits" / "config.pbtxt", folder / "digits")
    tag, file = "kserve-ext-models-digits:0.1.0", examples.MODELS / "Dockerfile"
    build = [
        "docker",
        "build",
        "-q",
        "-f",
        str(file),
        "-t",
        tag,
        "--build-arg",
        "BASE=python:3.11-slim-bookworm",
        str(folder),
    ]
    for command in (build, [sys.executable, "-m", "e2e.cluster", "load", tag]):
        done = subprocess.run(command, cwd=examples.ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return tag


def test_an_ensemble_takes_text(cluster: Cluster, models: str, serve: Callable[..., str]) -> None:
    name = serve("manifests/examples/embed.yaml")
    texts = np.array([[b"a cat sits on the mat"], [b"the kitten is on the rug"], [b"quarterly tax law"]], np.object_)
    with Client(f"http://{cluster.ingress}", authority=support.host_of(name, models)) as client:
        vectors = client.infer("embed", {"text": texts}, timeout_s=60)["embedding"]
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["a cat sits on the mat"]}]}
    answer = cluster.ask(support.host_of(name, models), "/v2/models/embed/infer", body)
    np.testing.assert_allclose(answer.json()["outputs"][0]["data"], vectors[0], atol=1e-4)


def test_a_service_of_grpc_alone(cluster: Cluster, models: str, serve: Callable[..., str]) -> None:
    name = serve("manifests/examples/emulated.yaml")
    with Client(f"grpc://{cluster.ingress}", authority=support.host_of(name, models)) as client:
        answers = client.infer("emulated", {"x": np.ones((2, 8), np.float32)}, timeout_s=60)
    assert answers["y"].shape == (2, 8)


def test_standard_mode_speaks_both_protocols(cluster: Cluster, models: str, serve: Callable[..., str]) -> None:
    name = serve("manifests/examples/digits-standard.yaml")
    with examples.forwarded(cluster, models, f"service/{name}-predictor", [80, 9000]) as (http, grpc):
        check_digits(f"http://{http}")
        check_digits(f"grpc://{grpc}")
    ports = {port["name"]: port for port in cluster.get("service", f"{name}-predictor", models)["spec"]["ports"]}
    assert next(port for port in ports.values() if port["port"] == 9000)["appProtocol"] == "kubernetes.io/h2c"
    (pod, *_) = cluster.pods(models, f"serving.kserve.io/inferenceservice={name}")
    (metrics,) = [one["containerPort"] for one in pod["spec"]["containers"][0]["ports"] if one["name"] == "metrics"]
    assert metrics == 8002


def test_a_custom_container_is_served_without_a_runtime(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    name = serve("manifests/examples/custom-container.yaml")
    check_digits(f"http://{cluster.ingress}", name, authority=support.host_of(name, models))


def test_a_slice_is_served_where_it_is_offered_and_one_too_many_waits(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    name = serve("manifests/examples/gpu-slice.yaml")
    selector = f"serving.kserve.io/inferenceservice={name}"
    (pod,) = cluster.pods(models, selector)
    assert pod["spec"]["nodeName"] == cluster.worker
    container = next(one for one in pod["spec"]["containers"] if one["name"] == "kserve-container")
    assert container["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"
    more = examples.read("manifests/examples/gpu-slice.yaml", name="too-many")
    more["spec"]["predictor"]["model"]["resources"] = {
        kind: {"nvidia.com/mig-1g.10gb": str(cluster.given.mig_slices)} for kind in ("requests", "limits")
    }
    try:
        cluster.apply(more, models)
        support.poll("the pod is refused", lambda: unschedulable(cluster, models, "too-many"), seconds=60)
        message = unschedulable(cluster, models, "too-many")
        assert message is not None
        assert "Insufficient nvidia.com/mig-1g.10gb" in message
    finally:
        cluster.kubectl("-n", models, "delete", "isvc", "too-many", "--wait=false", "--ignore-not-found")


def unschedulable(cluster: Cluster, namespace: str, name: str) -> str | None:
    for pod in cluster.pods(namespace, f"serving.kserve.io/inferenceservice={name}"):
        for condition in pod["status"].get("conditions", []):
            if condition.get("reason") == "Unschedulable":
                return str(condition["message"])
    return None


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


# ------------------------------------------------------------------------------------------------------ network


def check_network(cluster: Cluster, network: Network, models: str, name: str) -> None:
    """Who may reach a running model, judged by the labels and ports of the pods that are really there."""
    (pod, *_) = cluster.pods(models, f"serving.kserve.io/inferenceservice={name}")
    activator = cluster.pods("knative-serving", "app=activator")[0]
    autoscaler = cluster.pods("knative-serving", "app=autoscaler")[0]
    gateway = cluster.pods("kourier-system", "app=3scale-kourier-gateway")[0]
    prometheus = cluster.pods("monitoring")[0]
    where = ("kserve-ext", "app.kubernetes.io/name=kserve-ext-operator")
    operator = support.poll("the operator is there", lambda: next(iter(cluster.pods(*where)), None), seconds=60)
    controller = cluster.pods("kserve")[0]
    dns = cluster.pods("kube-system", "k8s-app=kube-dns")[0]
    for source in (activator, gateway):
        assert network.reaches(source, pod, 8012)
        assert network.reaches(source, pod, 8013)
        assert not network.reaches(source, pod, 8080)  # past the proxy that holds the limit
    assert network.reaches(autoscaler, pod, 9090)
    for port in (8002, 9091):
        assert network.reaches(prometheus, pod, port)
    for port in (8002, 8080, 9091):
        assert network.reaches(operator, pod, port)
    assert not network.reaches(operator, pod, 8012)
    for stranger in (controller, dns, pod):
        for port in (8012, 8080, 9000, 8002):
            assert not network.reaches(stranger, pod, port)
    assert network.reaches(pod, dns, 53, "UDP")
    for target, port in ((activator, 8012), (prometheus, 9090), (controller, 9443)):
        assert not network.reaches(pod, target, port)


# ------------------------------------------------------------------------------------------------------ monitoring


def test_every_rule_is_one_that_prometheus_takes_and_finds_data_for(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    (rules,) = yaml.safe_load_all((examples.ROOT / "manifests/monitoring/rules.yaml").read_text())
    recorded = {rule["record"]: rule["expr"] for rule in rules["spec"]["groups"][0]["rules"] if "record" in rule}
    alerts = [rule["expr"] for rule in rules["spec"]["groups"][0]["rules"] if "alert" in rule]
    name = serve("manifests/examples/digits.yaml")

    def found() -> bool:
        check_digits(f"http://{cluster.ingress}", authority=support.host_of(name, models))
        seen = [series["namespace"] for expr in recorded.values() for series, _ in cluster.metric(expr)]
        return seen.count(models) == len(recorded)

    support.poll("each rule gives a series for the model", found, seconds=90, every=3)
    for expr in alerts:
        for rule, written in recorded.items():
            expr = expr.replace(rule, f"({written})")
        cluster.metric(expr)  # fails where Prometheus cannot read it
