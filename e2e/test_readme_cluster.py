"""The README's commands and its example for a cluster, run as they are shown, in a namespace in place of `models`."""

from __future__ import annotations

import re

import pytest

from e2e.product import ROOT, Product
from e2e.support import Cluster

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
STEPS = [line for line in LINES if re.search("--namespace models", line)]
LIVE = [line for line in LINES if line.endswith("-cluster")]


@pytest.fixture
def product(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Product:
    return Product(cluster=cluster, namespace=namespace, folder=tmp_path_factory.mktemp("readme"))


def test_the_commands_follow_one_another_as_shown(product: Product) -> None:
    assert [line.split()[1] for line in STEPS] == ["diff", "apply", "status", "verify", "logs", "rollback", "delete"]
    out = str(product.folder)
    product.alone("render", "manifests/examples/emulated.yaml", "--out", out, "--quiet")
    for line in STEPS:
        words = line.replace("--namespace models", "").replace("out/rendered", out).split()[1:]
        via = ["--via", f"http://{product.cluster.ingress}", "--duration", "5s"] if words[0] == "verify" else []
        done = product.run(*words, *via, code=None)
        expected = {"diff": {1}, "verify": {0, 1}}.get(words[0], {0})  # 1: differs; the SLO of a busy machine
        assert done.returncode in expected, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert words[0] != "verify" or "measured" in done.stdout, done.stdout


@pytest.mark.parametrize("line", LIVE)
def test_a_command_that_judges_by_the_cluster_runs(product: Product, line: str) -> None:
    words = [str(ROOT / word) if word.startswith("manifests") else word for word in line.split()[1:]]
    done = product.alone(*words, code=None)
    assert done.returncode in (0, 1), done.stderr  # 1: an example asks for what this cluster does not have


def test_the_example_in_python_deploys(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(product.cluster.kubeconfig))
    code = next(block for language, block in BLOCKS if language == "python" and "kserve_ext.cluster" in block)
    names: dict[str, object] = {}
    exec(compile(code.replace('"models"', repr(product.namespace)), "README.md", "exec"), names)
    product.alone("render", "manifests/examples/emulated.yaml", "--out", str(product.folder), "--quiet")
    files = sorted((product.folder / "emulated").glob("*.yaml"))
    deploy = names["deploy"]
    assert callable(deploy)
    assert product.namespace in deploy([(str(file), file.read_text()) for file in files])
