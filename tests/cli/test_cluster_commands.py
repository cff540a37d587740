"""Commands for a cluster at the command line: what is wrong with the input, and the exit code. The rest runs in e2e."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.tiny_api import TinyApi, kubeconfig, serving

from kserve_ext.operator.learned import Learned, learned_configmap

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyApi]:
    """A cluster with KServe and no Knative."""
    with serving(TinyApi()) as running:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, running.url)))
        yield running


@pytest.fixture
def bundle(kserve_ext, tmp_path: Path, root: Path) -> Path:
    """The rendered bundle of emulated, in Standard mode."""
    manifest = (
        (root / "manifests/examples/emulated.yaml")
        .read_text()
        .replace("deploymentMode: Knative", "deploymentMode: Standard")
    )
    (tmp_path / "emulated.yaml").write_text(manifest.replace("kserve-ext-triton-grpc", "kserve-ext-triton-standard"))
    done = kserve_ext("render", "emulated.yaml", "--out", "rendered")
    assert done.returncode == 0, done.stderr
    return tmp_path / "rendered" / "emulated"


def test_a_bundle_is_previewed_refused_without_yes_applied_and_then_no_difference(
    kserve_ext, api: TinyApi, bundle: Path
) -> None:
    seen = kserve_ext("diff", str(bundle), "-o", "json")
    assert seen.returncode == 1, seen.stderr
    assert [each["action"] for each in json.loads(seen.stdout)["objects"]] == ["create", "create", "create"]

    unasked = kserve_ext("apply", str(bundle), "--no-wait")
    assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True), unasked.stderr
    assert not [path for path in api.objects if "emulated" in path]

    done = kserve_ext("apply", str(bundle), "--no-wait", "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["number"] == 1
    assert kserve_ext("diff", str(bundle)).returncode == 0
    waiting = kserve_ext("status", "emulated", "-o", "json")
    assert (waiting.returncode, json.loads(waiting.stdout)["bundle"]["outcome"]) == (1, "applied"), waiting.stderr


def test_status_tells_what_the_operator_learned_and_what_a_re_plan_waits_for(kserve_ext, api: TinyApi) -> None:
    service = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
               "metadata": {"name": "a", "namespace": "models", "uid": "u"}, "spec": {"predictor": {}}}  # fmt: skip
    learned = Learned(uid="u", remarks=("m: executions take 9ms, 1.80 times the 5ms profiled",),
                      changes=("~ spec.predictor.maxReplicas: 4 → 8",), waits_for="an hour after the last re-plan")  # fmt: skip
    api.objects["/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/a"] = service
    api.objects["/api/v1/namespaces/models/configmaps/a-learned"] = learned_configmap(service, learned)
    told = " ".join(kserve_ext("status", "a").stdout.split())
    assert "seen m: executions take 9ms, 1.80 times the 5ms profiled" in told
    assert "re-plan ~ spec.predictor.maxReplicas: 4 → 8; it waits for an hour after the last re-plan" in told
    assert json.loads(kserve_ext("status", "a", "-o", "json").stdout)["learned"]["uid"] == "u"


def test_a_rendered_text_on_standard_input_is_applied_as_it_is(kserve_ext, api: TinyApi, bundle: Path) -> None:
    text = "---\n".join(
        (bundle / name).read_text() for name in ("servingruntime.yaml", "inferenceservice.yaml", "plan.yaml")
    )
    done = kserve_ext("apply", "-", "--dry-run", "client", "-o", "json", stdin=text)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["dry_run"], len(json.loads(done.stdout)["objects"])) == ("client", 3)
    assert not [path for path in api.objects if "emulated" in path]


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"notes.txt": "x"}, "no bundle in it"),
        ({"kustomization.yaml": "resources: [a.yaml]\npatches: []\n", "a.yaml": ""}, "kubectl kustomize"),
        ({"kustomization.yaml": "resources: [gone.yaml]\n"}, "not files of this folder"),
        ({"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": POD}, "no InferenceService"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_bundle_is_named(kserve_ext, tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = kserve_ext("apply", ".", "--yes")
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wait", "x", "--timeout", "soon"], "--timeout"),
        (["verify", "http://127.0.0.1:9", "--isvc", "x"], "exactly one"),
        (["verify", "http://127.0.0.1:9"], "--model, --slo-p99"),
        (["verify", "--isvc", "x", "--host", "y"], "--host"),
        (["verify", "http://127.0.0.1:9", "--model", "m", "--slo-p99", "1s", "--via", "y"], "--via"),
        (["verify", "--isvc", "x", "--rate", "5rps", "--concurrency", "2"], "--rate, --concurrency"),
        (["fleet", "show"], "--from-cluster"),
        (["fleet", "show", "a.yaml", "--from-cluster"], "both"),
    ],
)
def test_a_wrong_option_is_named(kserve_ext, arguments: list[str], said: str) -> None:
    done = kserve_ext(*arguments)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("command", ["status", "wait", "rollback", "delete", "logs"])
def test_a_service_that_is_not_there_is_said(kserve_ext, command: str) -> None:
    done = kserve_ext(command, "nobody")
    assert (done.returncode, "no such InferenceService in namespace models" in done.stderr) == (2, True), done.stderr
