"""Which cluster, which namespace, which bundle: options of the commands that talk to a cluster, as kubectl has them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.shared import option

if TYPE_CHECKING:
    from kserve_ext.cluster import Cluster, Unit
    from kserve_ext.domain import Service

ContextOption = Annotated[
    str, typer.Option("--context", help="Context of the kubeconfig; the current one if left out.")
]
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace; the manifest's, else the context's, if left out.")
]
KubeconfigOption = Annotated[
    str, typer.Option("--kubeconfig", help="Kubeconfig file; KUBECONFIG or ~/.kube/config if left out.")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="An InferenceService.")]
PathsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH…",
        help="Folders that render wrote, or InferenceService files, which are planned first; - for standard input.",
    ),
]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="How long to wait, e.g. 10m.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ForceOption = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that another manager owns.")]
STDIN = "-"


def open_cluster(context: str, namespace: str, kubeconfig: str) -> Cluster:
    """A connection, checked by nothing yet. Raises as `connect` does."""
    from kserve_ext.cluster import Where, connect

    return connect(Where(kubeconfig=kubeconfig, context=context, namespace=namespace))


def check_only_live(live: bool, option_name: str, context: str, kubeconfig: str) -> None:
    """Raise BadParameter for a context or kubeconfig that nothing would look at."""
    if not live and (context or kubeconfig):
        raise typer.BadParameter(f"{'--context' if context else '--kubeconfig'} goes with {option_name}")


def read_units(paths: list[str], cluster: Cluster, namespace: str, repository: Path, policy: str | None) -> list[Unit]:
    """What to apply: bundles as they are, manifests planned and rendered first. Raises InputError, InfeasibleError."""
    from kserve_ext.bundles import bundle_folders, read_bundle
    from kserve_ext.cluster import read_manifests, units_of
    from kserve_ext.cluster.units import is_rendered
    from kserve_ext.files import read_text

    units: list[Unit] = []
    for path in paths:
        if path != STDIN and Path(path).is_dir():
            for folder in bundle_folders(Path(path)):
                units += units_of(read_manifests(read_bundle(folder)), namespace=cluster.namespace, asked=namespace)
            continue
        text = sys.stdin.read() if path == STDIN else read_text(Path(path))
        objects = read_manifests([(path, text)])
        if is_rendered(objects):
            units += units_of(objects, namespace=cluster.namespace, asked=namespace)
        else:
            units += _planned(path, text, cluster, namespace, repository, policy)
    return units


def _planned(
    path: str, text: str, cluster: Cluster, namespace: str, repository: Path, policy: str | None
) -> list[Unit]:
    """The units of an annotated manifest, planned and rendered as `render` does."""
    from kserve_ext.bundles import bundle_for, manifests_text
    from kserve_ext.cli import output as show
    from kserve_ext.cli.planning import decide, override
    from kserve_ext.cluster import read_manifests, units_of
    from kserve_ext.intent.read import read_services

    units: list[Unit] = []
    for service in read_services(text, path):
        service = _in_namespace(override(service, policy, None, None), namespace or cluster.namespace)
        decided = decide(service, repository)
        bundle = bundle_for(service, decided, repository)
        for warning in (*decided.warnings, *bundle.notes):
            show.note(f"warning: {warning.field}: {warning.text}")
        objects = read_manifests([(path, manifests_text(bundle))])
        units += units_of(objects, namespace=cluster.namespace, asked=namespace)
    return units


def _in_namespace(service: Service, namespace: str) -> Service:
    """The service with the namespace it will be in, where its manifest says none."""
    metadata = service.manifest["metadata"]
    if metadata.get("namespace"):
        return service
    manifest = {**service.manifest, "metadata": {**metadata, "namespace": namespace}}
    return replace(service, manifest=manifest, intent=replace(service.intent, namespace=namespace))


def ask(question: str, *, yes: bool) -> bool:
    """Whether the person agrees. Raises InputError where there is nobody to ask."""
    if yes:
        return True
    if not sys.stdin.isatty():
        from kserve_ext.errors import InputError, Problem

        raise InputError(Problem(field="--yes", what="not given, and there is no terminal to ask at"))
    return typer.confirm(question, err=True)


def seconds(timeout: str) -> float:
    """The seconds of --timeout. Raises InputError."""
    from kserve_ext.units import parse_duration_s

    return option("--timeout", timeout, parse_duration_s)
