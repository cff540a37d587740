"""A cluster that fails in the middle: what is said, with which exit code, and that the same command again gets there."""

from __future__ import annotations

import datetime
import socket
from pathlib import Path
from typing import Any

import pytest
from cluster.test_bundles_applied import isvc, other
from cluster.tiny_api import GoneError, TinyApi, kubeconfig, serving

from kserve_ext.cluster import Cluster, Unit, Where, apply, connect, preview, read_bundles, units_of
from kserve_ext.cluster.objects import Ref
from kserve_ext.errors import ClusterError, ConflictError, InputError, KserveExtError, RejectedError, UnreachableError

MODELS = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/digits"


@pytest.fixture
def unit() -> Unit:
    standard = isvc(annotations={"serving.kserve.io/deploymentMode": "Standard"})
    objects = [standard, other("ServingRuntime", "digits-triton"), other("ConfigMap", "digits-plan")]
    (found,) = units_of(objects, namespace="models")
    return found


def patches(api: TinyApi) -> list[str]:
    """The names of what was sent to be applied, dry runs included."""
    return [path.rpartition("/")[2] for method, path in api.requests if method == "PATCH"]


def test_a_server_that_goes_away_in_the_middle_leaves_nothing_unsaid_and_a_second_run_gets_there(
    api: TinyApi, cluster: Cluster, unit: Unit
) -> None:
    seen = preview(cluster, unit)

    def gone_at_the_plan(method: str, path: str) -> None:
        if method == "PATCH" and path.endswith("digits-plan"):
            raise GoneError

    api.fault = gone_at_the_plan
    with pytest.raises(UnreachableError) as caught:
        apply(cluster, seen, timeout_s=None)
    said = caught.value.message
    assert "\napplied: ServingRuntime digits-triton\nperhaps applied: ConfigMap digits-plan\n" in said
    assert "not sent: InferenceService digits" in said
    assert (caught.value.exit_code, "again" in caught.value.remedy) == (4, True)

    api.fault = lambda method, path: None
    receipt = apply(cluster, preview(cluster, unit), timeout_s=None)
    assert [str(diff.action) for diff in receipt.diffs] == ["same", "create", "create"]
    assert MODELS in api.objects
    assert [entry.number for entry in read_bundles(cluster, "digits", "models")] == [receipt.number] == [1]


def test_a_server_that_is_away_for_a_moment_is_asked_again(api: TinyApi, tmp_path: Path) -> None:
    answers: list[Any] = [
        GoneError(),
        (503, {"message": "etcd leader changed"}),
        (429, {"message": "too many requests"}),
    ]

    def stumbling(method: str, path: str) -> tuple[int, Any] | None:
        found = answers.pop(0) if answers else None
        if isinstance(found, GoneError):
            raise found
        return found

    api.fault = stumbling
    cluster = connect(Where(kubeconfig=str(kubeconfig(tmp_path, api.url))), patience_s=5)
    assert cluster.get(Ref(api_version="v1", kind="Namespace", namespace="", name="models")) is not None
    assert answers == []


def test_a_refusal_in_the_middle_says_what_is_applied(api: TinyApi, cluster: Cluster, unit: Unit) -> None:
    seen = preview(cluster, unit)
    denied = {"message": 'admission webhook "x" denied the request: no'}
    api.fault = lambda method, path: (403, denied) if method == "PATCH" and path == MODELS else None
    with pytest.raises(RejectedError) as caught:
        apply(cluster, seen, timeout_s=None)
    assert "applied: ServingRuntime digits-triton, ConfigMap digits-plan" in caught.value.message
    assert "not applied: InferenceService digits" in caught.value.message
    assert caught.value.exit_code == 2


def test_a_refusal_of_the_dry_run_is_found_before_anything_is_sent(api: TinyApi, cluster: Cluster, unit: Unit) -> None:
    denied = {"message": 'configmaps "x" is forbidden: exceeded quota: few, requested: a=1, used: a=5, limited: a=5'}
    api.fault = lambda method, path: (403, denied) if method == "PATCH" and path.endswith("digits-plan") else None
    with pytest.raises(RejectedError, match="quota few"):
        preview(cluster, unit)
    assert not [path for path in api.objects if "digits" in path]


def test_a_conflict_is_found_before_anything_is_sent_and_can_be_taken_over(
    api: TinyApi, cluster: Cluster, unit: Unit
) -> None:
    cause = {"reason": "FieldManagerConflict", "field": ".spec.predictor.model.runtime",
             "message": 'conflict with "kubectl-edit" using v1beta1'}  # fmt: skip
    refused = iter([(409, {"message": "conflict", "details": {"causes": [cause]}})])
    api.fault = lambda method, path: next(refused, None) if method == "PATCH" and path == MODELS else None
    seen = preview(cluster, unit)
    with pytest.raises(ConflictError, match="kubectl-edit"):
        apply(cluster, seen, timeout_s=None)
    assert MODELS not in api.objects
    assert apply(cluster, seen, timeout_s=None, force=True).number == 1


@pytest.mark.parametrize(
    ("status", "message", "kind", "said"),
    [
        (401, "Unauthorized", ClusterError, "credentials"),
        (403, 'User "ann" cannot get resource "servingruntimes" in API group', RejectedError, "ann may not get"),
    ],
)
def test_a_person_who_may_not_is_told_so(
    api: TinyApi, cluster: Cluster, status: int, message: str, kind: type[KserveExtError], said: str
) -> None:
    api.fault = lambda method, path: (status, {"message": message})
    with pytest.raises(kind, match=said):
        cluster.list("v1", "Pod", namespace="models")


def test_a_cluster_without_kserve_is_named(api: TinyApi, cluster: Cluster, unit: Unit) -> None:
    del api.kinds["/apis/serving.kserve.io/v1beta1"]
    with pytest.raises(ClusterError, match="no kind InferenceService") as caught:
        preview(cluster, unit)
    assert (caught.value.exit_code, "install KServe" in caught.value.remedy) == (4, True)
    assert patches(api) == []


def test_knative_mode_needs_knative(api: TinyApi, cluster: Cluster) -> None:
    (unit,) = units_of(
        [isvc(annotations={"serving.kserve.io/deploymentMode": "Knative"}), other("ServingRuntime", "digits-triton")],
        namespace="models",
    )
    with pytest.raises(ClusterError, match="no Knative Serving") as caught:
        preview(cluster, unit)
    assert "Standard" in caught.value.remedy


def test_a_runtime_that_is_nowhere_is_refused_with_those_there_are(api: TinyApi, cluster: Cluster) -> None:
    api.objects["/apis/serving.kserve.io/v1alpha1/clusterservingruntimes/mlserver"] = {
        "metadata": {"name": "mlserver"},
        "spec": {},
    }
    api.objects["/apis/serving.kserve.io/v1alpha1/clusterservingruntimes/off"] = {
        "metadata": {"name": "off"},
        "spec": {"disabled": True},
    }
    (unit,) = units_of([isvc()], namespace="models")
    with pytest.raises(InputError, match=r"digits-triton'?; allowed: mlserver$"):
        preview(cluster, unit)


@pytest.mark.parametrize("phase", ["", "Terminating"])
def test_a_namespace_that_is_not_there_or_going_is_said(api: TinyApi, cluster: Cluster, unit: Unit, phase: str) -> None:
    namespace = api.objects.pop("/api/v1/namespaces/models")
    if phase:
        api.objects["/api/v1/namespaces/models"] = namespace | {"status": {"phase": phase}}
    with pytest.raises(
        ClusterError if phase else InputError, match="being deleted" if phase else "no such namespace"
    ) as caught:
        preview(cluster, unit)
    assert caught.value.exit_code == (4 if phase else 2)


def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    cluster = connect(Where(kubeconfig=str(kubeconfig(tmp_path, f"http://127.0.0.1:{port}"))), patience_s=0.1)
    with pytest.raises(
        UnreachableError, match=f"API server of here at http://127.0.0.1:{port} does not answer"
    ) as caught:
        cluster.list("v1", "Pod")
    assert caught.value.exit_code == 4


def certificate(folder: Path, *, days: int) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, that ends in `days` days."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tiny")])
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(ends - datetime.timedelta(days=100)).not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / f"{days}.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


def test_a_certificate_that_has_expired_is_told_from_one_that_is_not_trusted(tmp_path: Path) -> None:
    expired, good = certificate(tmp_path, days=-1), certificate(tmp_path, days=10)
    for served, trusted, said in ((expired, expired, "has expired"), (good, expired, "not signed by the CA")):
        with serving(TinyApi(), served) as api:
            cluster = connect(Where(kubeconfig=str(kubeconfig(tmp_path, api.url, ca_file=trusted))), patience_s=30)
            with pytest.raises(UnreachableError, match=said):  # at once: waiting does not heal it
                cluster.list("v1", "Pod")
    with serving(TinyApi(), good) as api:
        cluster = connect(Where(kubeconfig=str(kubeconfig(tmp_path, api.url, ca_file=good))))
        assert cluster.list("v1", "Pod") == ()


# ------------------------------------------------------------------------------------------------- which cluster


def test_a_context_that_is_not_there_is_refused_with_those_there_are(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(InputError, match="allowed: here"):
        connect(Where(kubeconfig=str(file), context="prod"))


@pytest.mark.parametrize("text", ["", "no: kubeconfig", "[", "contexts: 3", "\x00"])
def test_what_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(InputError, match="config"):
        connect(Where(kubeconfig=str(file)))


def test_without_any_kubeconfig_it_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UnreachableError, match="which cluster") as caught:
        connect()
    assert "KUBECONFIG" in caught.value.remedy
