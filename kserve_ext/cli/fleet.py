"""fleet plan, show, from-nodes: many services on many GPUs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kserve_ext.cli.cluster_options import ContextOption, KubeconfigOption, check_only_live
from kserve_ext.cli.formats import Format
from kserve_ext.cli.shared import (
    REPOSITORY,
    ManifestArgument,
    OutputOption,
    QuietOption,
    RepositoryOption,
    read_services,
)

if TYPE_CHECKING:
    from kserve_ext.policy.fleet import Fleet, FleetPlan

File = TypeVar("File", Path, str)

FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet: pools of nodes with GPUs, slices and prices.")
]
LiveOption = Annotated[
    bool, typer.Option("--from-cluster", help="The nodes of a live cluster instead of a file; they have no prices.")
]

commands = typer.Typer(
    name="fleet",
    help="Many services on many GPUs: who runs on which slice, with as few GPUs as possible.",
    epilog="Example:  kserve-ext fleet plan services/*.yaml --fleet fleet.yaml",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    commands.command("plan")(plan_command)
    commands.command("show")(show_command)
    commands.command("from-nodes")(from_nodes)
    app.add_typer(commands)


def plan_command(
    manifests: ManifestArgument,
    fleet: FleetOption = None,
    live: LiveOption = False,
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for manifests, node layouts and the plan; an earlier plan is kept to."),
    ] = None,
    current: Annotated[
        Path | None, typer.Option("--current", help="Plan that runs now, as -o json printed it: few services move.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Plan from nothing, whatever runs now.")] = False,
    objective: Annotated[
        str | None, typer.Option("--objective", help="gpus or cost; cost where every pool has a price.")
    ] = None,
    repository: RepositoryOption = REPOSITORY,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Place services on the fleet's slices with as few GPUs as possible; a lower bound is printed beside.

    Example:  kserve-ext fleet plan manifests/examples/fleet/services/*.yaml --fleet manifests/examples/fleet/fleet.yaml
    """
    from kserve_ext import fleets
    from kserve_ext.cli import output as show
    from kserve_ext.cli.progress import progress_bar
    from kserve_ext.cli.shared import option
    from kserve_ext.plugins import plan_with
    from kserve_ext.policy.fleet import Objective, plan_fleet

    aim = option("--objective", objective, _objective) if objective is not None else None
    services = read_services(manifests)
    offered = _fleet(fleet, live, context, kubeconfig, read=_read, quiet=quiet)
    wanted = fleets.wanted_services(services, repository)
    running = current or (out / fleets.PLAN_FILE if out is not None and (out / fleets.PLAN_FILE).exists() else None)
    places = fleets.read_places(running) if running is not None and not fresh else ()
    with progress_bar(quiet=quiet) as report:
        plan = plan_fleet(
            wanted, offered, plan_with, objective=Objective(aim) if aim else None, current=places,
            progress=lambda done, total: report(done, total, "services planned"),
        )  # fmt: skip
        if out is not None:
            paths, notes = fleets.write_plan(
                plan,
                offered,
                services,
                wanted,
                repository,
                out,
                lambda done, total: report(done, total, "manifests written"),
            )
    if out is not None:
        for note in dict.fromkeys((note.field, note.text) for note in notes):
            show.note(f"note: {note[0]}: {note[1]}", quiet=quiet)
        show.note(f"wrote {len(paths)} files to {out}", quiet=quiet)
    if output is not Format.TABLE:
        show.emit(plan, output)
        return
    _show(plan)


def show_command(
    fleet: Annotated[Path | None, typer.Argument(metavar="[FLEET]", help="A fleet file.")] = None,
    live: LiveOption = False,
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what a fleet has: its pools, what each GPU may be cut into, and what a part costs.

    Example:  kserve-ext fleet show manifests/examples/fleet/fleet.yaml
    """
    from kserve_ext.cli import output as show
    from kserve_ext.policy.fleet import write_fleet

    found = _fleet(fleet, live, context, kubeconfig, read=_read)
    if output is not Format.TABLE:
        show.emit(write_fleet(found), output)
        return
    rows = []
    for pool in found.pools:
        kinds = sorted(pool.shape.kinds) if pool.shape else ["cpu"]
        prices = [(kind, pool.hourly(kind)) for kind in kinds]
        parts = ", ".join(
            kind.partition("/")[2] or kind if price is None else f"{kind.partition('/')[2]} ({price:.3g}/h)"
            for kind, price in prices
        )
        gpus = f"{pool.gpus_per_node} x {pool.gpu.key}" if pool.gpu else "-"
        rows.append((pool.name, str(len(pool.node_names)), gpus, "spot" if pool.spot else "on demand", parts))
    show.table(("pool", "nodes", "GPUs a node", "kind", "parts"), rows)


def from_nodes(
    nodes: Annotated[
        str | None, typer.Argument(metavar="[NODES]", help="What `kubectl get nodes -o json` printed, or -.")
    ] = None,
    live: LiveOption = False,
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    out: Annotated[Path | None, typer.Option("--out", help="File to write to instead of standard output.")] = None,
) -> None:
    """Make a fleet file from a cluster's nodes; prices are added by hand.

    Example:  kubectl get nodes -o json | kserve-ext fleet from-nodes - --out fleet.yaml
    """
    from kserve_ext.files import write_text
    from kserve_ext.policy.fleet import write_fleet
    from kserve_ext.render.text import to_yaml

    found = _fleet(nodes, live, context, kubeconfig, read=_read_nodes)
    written = to_yaml(write_fleet(found))
    if out is None:
        sys.stdout.write(written)
    else:
        write_text(out, written)


def _fleet(
    file: File | None, live: bool, context: str, kubeconfig: str, *, read: Callable[[File], Fleet], quiet: bool = False
) -> Fleet:
    """The fleet of a file or of a live cluster, exactly one of which must be named. Raises InputError."""
    from kserve_ext.cli import output as show
    from kserve_ext.errors import InputError, Problem

    if (file is not None) == live:
        named = "both" if live else "neither"
        raise InputError(Problem(field="FLEET, --from-cluster", what="exactly one is needed", found=named))
    check_only_live(live, "--from-cluster", context, kubeconfig)
    found = read(file) if file is not None else _live(context, kubeconfig)
    for note in found.notes:
        show.note(f"note: {note}", quiet=quiet)
    return found


def _live(context: str, kubeconfig: str) -> Fleet:
    from kserve_ext.cli.cluster_options import open_cluster
    from kserve_ext.cluster.collect import nodes_text
    from kserve_ext.policy.fleet import read_nodes

    cluster = open_cluster(context, "", kubeconfig)
    return read_nodes(nodes_text(cluster), f"cluster {cluster.name}")


def _read_nodes(file: str) -> Fleet:
    from kserve_ext.files import read_text
    from kserve_ext.policy.fleet import read_nodes

    return read_nodes(sys.stdin.read() if file == "-" else read_text(Path(file)), file)


def _objective(text: str) -> str:
    if text not in ("gpus", "cost"):
        raise ValueError("gpus, cost")
    return text


def _read(path: Path) -> Fleet:
    from kserve_ext.files import read_text
    from kserve_ext.policy.fleet import read_fleet

    return read_fleet(read_text(path), str(path))


def _show(plan: FleetPlan) -> None:
    from kserve_ext.cli import output as show

    services = [
        (
            each.service, each.kind, str(each.replicas), f"{each.rate_rps:.5g}",
            f"{each.capacity_rps:.5g}", ", ".join(f"{name}: {count}" for name, count in each.pools.items()),
        )
        for each in plan.services
    ]  # fmt: skip
    show.table(("service", "runs on", "replicas", "rps", "carries", "pools"), services)
    nodes = [
        (node.node, "; ".join(" ".join(gpu) or "-" for gpu in node.gpus), node.config or "as it is")
        for node in plan.nodes
        if any(node.gpus)
    ]
    show.say("")
    show.table(("node", "slices, GPU by GPU", "nvidia.com/mig.config"), nodes)
    show.say("")
    proven = ", proven: none can use fewer" if plan.optimal else ""
    show.say(
        f"{plan.gpus} of {plan.gpus_in_fleet} GPUs; at least {plan.gpus_lower_bound} are needed{proven}", style="bold"
    )
    if plan.cost_per_hour is not None:
        bound = plan.cost_per_hour_lower_bound
        least = "" if bound is None else f"; at least {bound:.4g}"
        show.say(f"cost {plan.cost_per_hour:.4g} an hour for what is used{least}")
    if plan.moved:
        show.say(f"moved: {', '.join(plan.moved)}")
