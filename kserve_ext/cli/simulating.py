"""simulate, whatif, demo: policies over a trace, without a server or a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kserve_ext.cli.case_options import (
    AttainmentOption,
    CaseOptions,
    ColdStartOption,
    HistoryOption,
    LearnOption,
    ManifestOption,
    MaxOption,
    MinOption,
    ProfileOption,
    SeedOption,
    ServiceOption,
    SloOption,
    TraceOption,
    read_questions,
)
from kserve_ext.cli.formats import Format, PageFormat
from kserve_ext.cli.shared import REPOSITORY, QuietOption, RepositoryOption

if TYPE_CHECKING:
    from kserve_ext.cases.comparing import Comparison
    from kserve_ext.cases.varying import Variation


PageOption = Annotated[PageFormat, typer.Option("--output", "-o", help="How the result is shown.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="File for the result instead of standard output.")]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Policies that run at the same time, a process each.")]
EVERY_POLICY = "ours,ours-reactive,static-peak,kpa-default,kpa-cc1,hpa-cpu-60,hpa-cpu-80,keda-rps,perfect-rate,oracle"
DEMO_PAGE = Path("kserve-ext-demo.html")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("simulate")(simulate_command)
    app.command("whatif")(whatif_command)
    app.command("demo")(demo_command)


def simulate_command(
    trace: TraceOption,
    service: ServiceOption = None,
    profile: ProfileOption = None,
    slo_p99: SloOption = None,
    cold_start: ColdStartOption = None,
    history: HistoryOption = None,
    learn_until: LearnOption = None,
    policy: Annotated[str, typer.Option("--policy", help="Policies to compare, separated by commas.")] = EVERY_POLICY,
    attainment: AttainmentOption = "99%",
    min_replicas: MinOption = None,
    max_replicas: MaxOption = None,
    manifest: ManifestOption = None,
    repository: RepositoryOption = REPOSITORY,
    seed: SeedOption = 0,
    jobs: JobsOption = 1,
    output: PageOption = PageFormat.TABLE,
    out: OutOption = None,
    compare: Annotated[Path | None, typer.Option("--compare", help="Draw all policies into one HTML file.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Run scaling policies over a trace: who keeps the SLO, at what cost, beside what an oracle would pay.

    Every policy meets the same requests. ours is what kserve-ext plans, with the predictive floor; ours-reactive the
    same without a forecast; perfect-rate and oracle know the future and stand for comparison. A request that is dropped
    or never answered counts as late; a replica is billed from the decision to start it.

    A service time by hand: {"service_time": {"distribution": "lognormal", "loc": 0.08, "scale": 0.07, "shape": 0.42}}

    Example:  kserve-ext simulate --trace day.csv --profile law.json --slo-p99 720ms --cold-start 35s --compare out.html
    """
    from kserve_ext.cases import build_case
    from kserve_ext.cases.comparing import check_policies
    from kserve_ext.cases.comparing import compare as compare_policies
    from kserve_ext.cli.progress import progress_bar

    policies = tuple(name.strip() for name in policy.split(",") if name.strip())
    check_policies(policies)
    questions = read_questions(CaseOptions(
        trace=trace, service=service, profile=profile, slo_p99=slo_p99, cold_start=cold_start, history=history,
        learn_until=learn_until, attainment=attainment, min_replicas=min_replicas, max_replicas=max_replicas, seed=seed,
        manifest=manifest, repository=repository,
    ))  # fmt: skip
    comparisons = []
    for case in [build_case(question) for question in questions]:
        with progress_bar(quiet=quiet) as progress:
            comparisons.append(compare_policies(case, policies, jobs=jobs, progress=progress))
    _write_page(compare, comparisons, str(trace), quiet=quiet)
    _show(comparisons, str(trace), output, out, quiet=quiet)


def whatif_command(
    trace: TraceOption,
    vary: Annotated[
        str, typer.Option("--vary", help="One knob and its values, e.g. rate=0.5,1,2,4 or cold-start=10s,35s,2m.")
    ],
    service: ServiceOption = None,
    profile: ProfileOption = None,
    slo_p99: SloOption = None,
    cold_start: ColdStartOption = None,
    history: HistoryOption = None,
    learn_until: LearnOption = None,
    policy: Annotated[str, typer.Option("--policy", help="The policy that is looked at.")] = "ours",
    attainment: AttainmentOption = "99%",
    min_replicas: MinOption = None,
    max_replicas: MaxOption = None,
    manifest: ManifestOption = None,
    repository: RepositoryOption = REPOSITORY,
    seed: SeedOption = 0,
    output: PageOption = PageFormat.TABLE,
    out: OutOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn one knob and see what breaks: where the SLO is first lost, when in the day, and for want of what.

    Knobs: rate (a factor), slo, attainment, cold-start, min-replicas, max-replicas, max-batch, and the autoscaler's
    window and target. Everything else stays as given; what a plan decides is decided again.

    Example:  kserve-ext whatif --trace day.csv --profile law.json --slo-p99 720ms --cold-start 35s --vary rate=1,2,4
    """
    from kserve_ext.cases.comparing import check_policies
    from kserve_ext.cases.varying import parse_knob
    from kserve_ext.cases.varying import vary as vary_knob
    from kserve_ext.cli.progress import progress_bar

    check_policies((policy,))
    knob = parse_knob(vary)
    questions = read_questions(CaseOptions(
        trace=trace, service=service, profile=profile, slo_p99=slo_p99, cold_start=cold_start, history=history,
        learn_until=learn_until, attainment=attainment, min_replicas=min_replicas, max_replicas=max_replicas, seed=seed,
        manifest=manifest, repository=repository,
    ))  # fmt: skip
    variations = []
    for question in questions:
        with progress_bar(quiet=quiet) as progress:
            variations.append(vary_knob(question, policy, knob, progress=progress))
    _show_variations(variations, str(trace), output, out, quiet=quiet)


def demo_command(
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = DEMO_PAGE,
    output: Annotated[Format, typer.Option("--output", "-o", help="How the result is shown.")] = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Show what a plan is worth, in seconds: a bundled day of traffic under Knative's defaults and under the plan.

    Needs no server, no cluster and no model. Writes one HTML page and prints a short table.

    Example:  kserve-ext demo --out demo.html
    """
    from kserve_ext.cases.comparing import compare as compare_policies
    from kserve_ext.cases.demo import POLICIES, SOURCE, demo_case
    from kserve_ext.cli.progress import progress_bar

    jobs = min(len(POLICIES), os.cpu_count() or 1)  # more would share a core with ours, which takes longest
    with progress_bar(quiet=quiet) as progress:
        comparisons = [compare_policies(demo_case(), POLICIES, jobs=jobs, progress=progress)]
    _write_page(out, comparisons, SOURCE, quiet=quiet)
    _show(comparisons, SOURCE, PageFormat(output.value), None, quiet=quiet)


def _write_page(path: Path | None, comparisons: Sequence[Comparison], source: str, *, quiet: bool) -> None:
    if path is None:
        return
    from kserve_ext.cli import output as show
    from kserve_ext.files import write_text
    from kserve_ext.report.comparison import render_comparison

    write_text(path, render_comparison(comparisons, source))
    show.note(f"wrote {path}", quiet=quiet)


def _show(comparisons: Sequence[Comparison], source: str, output: PageFormat, out: Path | None, *, quiet: bool) -> None:
    from kserve_ext.report.comparison_figures import figures

    if output is PageFormat.TABLE and out is None:
        for comparison in comparisons:
            _table(comparison)
    elif output is PageFormat.HTML:
        from kserve_ext.report.comparison import render_comparison

        emit_text(render_comparison(comparisons, source), out, quiet=quiet)
    else:
        emit_figures([figures(comparison, source) for comparison in comparisons], output, out, quiet=quiet)


def emit_text(text: str, out: Path | None, *, quiet: bool) -> None:
    """The text to a file, or to standard output."""
    if out is None:
        sys.stdout.write(text)
        return
    from kserve_ext.cli import output as show
    from kserve_ext.files import write_text

    write_text(out, text)
    show.note(f"wrote {out}", quiet=quiet)


def emit_figures(records: list[dict[str, Any]], output: PageFormat, out: Path | None, *, quiet: bool) -> None:
    """Records as JSON or YAML, a single one by itself; a table cannot go to a file, so that becomes JSON."""
    from kserve_ext.cli import output as show

    value = show.plain(records if len(records) > 1 else records[0])
    if output is PageFormat.YAML:
        import yaml

        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    else:
        import json

        text = json.dumps(value, indent=2) + "\n"
    emit_text(text, out, quiet=quiet)


def _table(comparison: Comparison) -> None:
    from kserve_ext.cli import output as show
    from kserve_ext.report.comparison_figures import COLUMNS, facts_line, ladder_line, rows, verdict

    show.say(facts_line(comparison), style="bold")
    show.table(COLUMNS, rows(comparison))
    show.say(ladder_line(comparison), style="dim")
    show.say(verdict(comparison), style="bold")


def _show_variations(
    variations: Sequence[Variation], source: str, output: PageFormat, out: Path | None, *, quiet: bool
) -> None:
    from kserve_ext.report import variation_figures

    if output is PageFormat.HTML:
        from kserve_ext.report.comparison import render_variations

        emit_text(render_variations(variations, source), out, quiet=quiet)
    elif output is not PageFormat.TABLE or out is not None:
        records = [variation_figures.figures(variation, source) for variation in variations]
        emit_figures(records, output, out, quiet=quiet)
    else:
        from kserve_ext.cli import output as show

        for variation in variations:
            show.say(variation_figures.facts_line(variation), style="bold")
            show.table(variation_figures.columns(variation), variation_figures.rows(variation))
            show.say(variation_figures.verdict(variation), style="bold")
