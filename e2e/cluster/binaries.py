"""Every Go program of the cluster, compiled from one module graph.

One graph means that each dependency, above all the Kubernetes libraries, is compiled once for all programs: half the time
of a graph per project. `go/go.mod` and `go/go.sum` pin it with checksums. Three modules do not fit as they are and are built
from a copy with one edit each.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.settings import HERE, Settings
from e2e.cluster.work import Log, Missing, Workshop, digest_of

GRAPH = HERE / "go"
_KUBERNETES = (
    "kubeadm", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl",
)  # fmt: skip
_SERVING = ("controller", "autoscaler", "autoscaler-hpa", "activator", "webhook", "queue")
GROUPS: dict[str, dict[str, str]] = {  # group -> program -> package
    "kubernetes": {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES},
    "tools": {
        "kind": "sigs.k8s.io/kind",
        "etcd": "go.etcd.io/etcd/server/v3",
        "coredns": "./coredns",
        "pause": "./pause",
    },
    "knative": {
        **{name: f"knative.dev/serving/cmd/{name}" for name in _SERVING},
        "kourier": "knative.dev/net-kourier/cmd/kourier",
    },
    "kserve": {name: f"github.com/kserve/kserve/cmd/{name}" for name in ("manager", "agent", "router")},
    "monitoring": {
        "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server",
        "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A module that is built from a copy: `old` in `file` becomes `new`; without `old` the whole file does."""

    folder: str
    file: str
    old: str = ""
    new: str


EDITED = {
    # Discovery in Kubernetes only: the other discoveries are the SDKs of every cloud.
    "github.com/prometheus/prometheus": Edited(
        folder="prometheus",
        file="plugins/plugins.go",
        new='package plugins\n\nimport _ "github.com/prometheus/prometheus/discovery/kubernetes"\n',
    ),
    # Merging fails where the two halves name different versions of the same schema, and the library is newer than Knative's.
    "knative.dev/pkg": Edited(
        folder="knative-pkg",
        file="observability/semconv/semconv.go",
        old="SchemaURL = semconv.SchemaURL",
        new='SchemaURL = ""',
    ),
    # Written for the parser of an older Prometheus than the one in this graph.
    "sigs.k8s.io/metrics-server": Edited(
        folder="metrics-server",
        file="pkg/scraper/client/resource/decode.go",
        old='textparse.New(b, "text/plain", "", false, false, nil)',
        new='textparse.New(b, "text/plain", nil, textparse.ParserOptions{})',
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Where each program lies, and the module graph they came from."""

    folders: dict[str, Path]  # by group
    graph: Path

    def __getitem__(self, program: str) -> Path:
        group = next(name for name, programs in GROUPS.items() if program in programs)
        return self.folders[group] / program


def environment(given: Settings) -> dict[str, str]:
    """What the go command gets: its caches in ours, nothing from the machine's own settings."""
    return {
        "GOMODCACHE": str(given.cache / "go" / "mod"),
        "GOCACHE": str(given.cache / "go" / "build"),
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOGC": "400",  # fewer collections in the compiler: a fifth less time
        "GOFLAGS": f"-trimpath -buildvcs=false -mod={'readonly' if _is_pinned(given) else 'mod'}",
    }


def build(given: Settings, shop: Workshop) -> Binaries:
    """All programs, from the cache or compiled."""
    inputs = {"graph": digest_of(GRAPH), "versions": versions(given), "edited": repr(EDITED)}
    graph = shop.artefact("go-graph", inputs, lambda folder, log: _make_graph(given, folder, log))
    folders = {
        group: shop.artefact(
            f"build-{group}",
            {**inputs, "programs": programs, "stamp": _stamp(given) if group == "kubernetes" else ""},
            lambda folder, log, group=group: _compile(given, group, graph, folder, log),  # type: ignore[misc]
        )
        for group, programs in GROUPS.items()
    }
    return Binaries(folders=folders, graph=graph)


def module_folder(given: Settings, graph: Path, module: str, log: Log) -> Path:
    """The source of a module at the version that the graph selects."""
    if module in EDITED:
        return graph / EDITED[module].folder
    settled = environment(given)
    version = json.loads(log.read("go", "list", "-m", "-json", module, cwd=graph, env=settled))["Version"]
    return download(f"{module}@{version}", graph, settled, log)


def versions(given: Settings) -> dict[str, str]:
    """Required version by module, as the settings want them."""
    return {
        "k8s.io/kubernetes": f"v{given.kubernetes}",
        "knative.dev/serving": f"v{given.knative}",
        "knative.dev/net-kourier": f"v{given.kourier}",
        "github.com/kserve/kserve": f"v{given.kserve}",
        "go.etcd.io/etcd/server/v3": f"v{given.etcd}",
    }


def _is_pinned(given: Settings) -> bool:
    text = (GRAPH / "go.mod").read_text()
    return all(f"{module} {version}\n" in text for module, version in versions(given).items())


def _make_graph(given: Settings, folder: Path, log: Log) -> None:
    if not shutil.which("go"):
        raise Missing("the Go compiler is needed: install Go 1.26 or newer and put it on PATH")
    shutil.copytree(GRAPH, folder, dirs_exist_ok=True)
    settled = environment(given)
    if not _is_pinned(given):
        log.run("go", "mod", "edit", *_other_versions(given, folder, log), cwd=folder, env=settled)
    for module, edited in EDITED.items():
        version = re.search(rf"{re.escape(module)} (v\S+)", (GRAPH / "go.mod").read_text())
        assert version is not None
        _copy(module, version[1], edited, folder, settled, log)
    packages = [package for programs in GROUPS.values() for package in programs.values()]
    log.read("go", "list", "-deps", *packages, cwd=folder, env=settled)


def _copy(module: str, version: str, edited: Edited, graph: Path, settled: dict[str, str], log: Log) -> None:
    target = graph / edited.folder
    source = download(f"{module}@{version}", graph, settled, log)
    copy_module(source, target)
    file = target / edited.file
    before = file.read_text()
    if edited.old not in before:
        raise OSError(f"{module}@{version}: {edited.file} no longer contains {edited.old!r}")
    file.write_text(before.replace(edited.old, edited.new) if edited.old else edited.new)
    (target / "plugins" / "generate.go").unlink(missing_ok=True)


def copy_module(source: Path, target: Path) -> None:
    """A copy that can be written to and removed: the module cache is read-only."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        folder.chmod(0o755)


def download(module: str, graph: Path, settled: dict[str, str], log: Log) -> Path:
    """The source of `MODULE@VERSION`, in the module cache."""
    return Path(json.loads(log.read("go", "mod", "download", "-json", module, cwd=graph, env=settled))["Dir"])


def _other_versions(given: Settings, folder: Path, log: Log) -> Iterator[str]:
    """Options of `go mod edit` for versions other than the pinned ones."""
    settled = environment(given)
    for module, version in versions(given).items():
        yield f"-require={module}@{version}"
    # A project's own replacements count only where it is the main module: KServe's are taken over.
    kserve = download(f"github.com/kserve/kserve@v{given.kserve}", folder, settled, log) / "go.mod"
    replaced = json.loads(log.read("go", "mod", "edit", "-json", kserve, cwd=folder, env=settled))["Replace"]
    for each in replaced or []:
        if not each["Old"]["Path"].startswith("k8s.io/"):
            yield f"-replace={each['Old']['Path']}={each['New']['Path']}@{each['New'].get('Version', '')}"
    # Kubernetes' staging modules carry the version v0.MINOR.PATCH.
    for module in re.findall(r"^replace (k8s\.io/\S+) =>", (folder / "go.mod").read_text(), re.MULTILINE):
        yield f"-replace={module}={module}@v0.{given.kubernetes.partition('.')[2]}"


def _compile(given: Settings, group: str, graph: Path, folder: Path, log: Log) -> None:
    settled = environment(given)
    stamp = _stamp(given) if group == "kubernetes" else ""
    options = (f"-ldflags=-s -w{stamp}", "-o", f"{folder}/")
    go_build(log, folder, *options, *GROUPS[group].values(), cwd=graph, env=settled)
    for program, package in GROUPS[group].items():
        built = package.removesuffix("/v3").rsplit("/", 1)[1]  # as the go command names it
        (folder / built).rename(folder / program)


def go_build(log: Log, folder: Path, *arguments: str | Path, cwd: Path, env: dict[str, str]) -> None:
    """Compile and link without debugging data, the compiler's own files below `folder`, where a killed run leaves them."""
    scratch = folder / "scratch"
    scratch.mkdir()
    log.run("go", "build", "-gcflags=all=-dwarf=false", *arguments, cwd=cwd, env={**env, "GOTMPDIR": str(scratch)})
    shutil.rmtree(scratch)


def _stamp(given: Settings) -> str:
    """Linker options that tell the programs their version: kubeadm and kind decide by it."""
    major, minor, _ = given.kubernetes.split(".")
    values = {
        "gitVersion": f"v{given.kubernetes}", "gitMajor": major, "gitMinor": minor, "gitCommit": "0" * 40,
        "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return "".join(f" -X {package}.{name}={value}" for package in packages for name, value in values.items())
