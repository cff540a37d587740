"""operator run, operator guard: what the Deployments in manifests/operator start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from kserve_ext.cli.shared import option

_KUBECONFIG = typer.Option("--kubeconfig", help="Which kubeconfig; in a pod its service account is used.")
_TTL = typer.Option("--floor-ttl", help="How long a floor lasts that is not renewed, e.g. 5m.")
_NAMESPACE = typer.Option("--namespace", "-n", help="The operator's own namespace; that of the pod if left out.")

operator_app = typer.Typer(
    name="operator", help="The operator in the cluster: admission, floors ahead of traffic, their fallback.",
    no_args_is_help=True,
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(operator_app)


@operator_app.command("run")
def run(
    prometheus: Annotated[
        str,
        typer.Option(
            "--prometheus", help="URL of a Prometheus that scrapes queue-proxy; pods are read directly if left out."
        ),
    ] = "",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the webhooks, HTTPS.")] = 9443,
    status_port: Annotated[
        int, typer.Option("--status-port", min=1, max=65535, help="Port of /healthz, /readyz and /metrics.")
    ] = 8080,
    model_repo: Annotated[
        Path | None, typer.Option("--model-repo", help="A mounted model repository, beside the profiles in ConfigMaps.")
    ] = None,
    floor_ttl: Annotated[str, _TTL] = "5m",
    every: Annotated[str, typer.Option("--every", help="Time between two rounds of the loop.")] = "10s",
    namespace: Annotated[str, _NAMESPACE] = "",
    kubeconfig: Annotated[str, _KUBECONFIG] = "",
) -> None:
    """Answer admission reviews, and keep replicas ready ahead of the traffic. Runs until it is told to end.

    Example:  kserve-ext operator run --prometheus http://prometheus.monitoring:9090
    """
    from kserve_ext.cluster import Where, connect
    from kserve_ext.operator.main import Operator, OperatorSettings, own_namespace
    from kserve_ext.units import parse_duration_s

    _log()
    settings = OperatorSettings(
        namespace=namespace or own_namespace(), port=port, status_port=status_port, prometheus=prometheus, repository=model_repo,
        ttl_s=option("--floor-ttl", floor_ttl, parse_duration_s), round_s=option("--every", every, parse_duration_s),
    )  # fmt: skip
    Operator(connect(Where(kubeconfig=kubeconfig), patience_s=5.0), settings).run()


@operator_app.command("guard")
def guard_command(
    floor_ttl: Annotated[str, _TTL] = "5m",
    every: Annotated[str, typer.Option("--every", help="Time between two looks at the operator's Lease.")] = "10s",
    namespace: Annotated[str, _NAMESPACE] = "",
    kubeconfig: Annotated[str, _KUBECONFIG] = "",
) -> None:
    """Remove every floor once the operator has not renewed them for the TTL. Runs until it is told to end.

    Example:  kserve-ext operator guard --floor-ttl 5m
    """
    import signal
    import threading

    from kserve_ext.cluster import Where, connect
    from kserve_ext.operator.guard import FLOORS_LEASE, guard
    from kserve_ext.operator.lease import Lease
    from kserve_ext.operator.main import own_namespace
    from kserve_ext.units import parse_duration_s

    _log()
    ttl_s = option("--floor-ttl", floor_ttl, parse_duration_s)
    cluster = connect(Where(kubeconfig=kubeconfig), patience_s=5.0)
    lease = Lease(
        cluster, namespace=namespace or own_namespace(), name=FLOORS_LEASE, identity="", duration_s=round(ttl_s)
    )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    guard(cluster, lease, ended, every_s=option("--every", every, parse_duration_s))


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
