"""lint: rules over manifests, config.pbtxt and model repositories, before anything is applied."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.cluster_options import ContextOption, KubeconfigOption, check_only_live
from kserve_ext.cli.shared import QuietOption

if TYPE_CHECKING:
    from kserve_ext.errors import Problem
    from kserve_ext.lint import ClusterFacts, Outcome, Rule


class LintFormat(StrEnum):
    """How findings are shown."""

    HUMAN = "human"
    JSON = "json"
    YAML = "yaml"
    SARIF = "sarif"
    GITHUB = "github"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("lint")(lint_command)


def lint_command(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH…", help="Manifests, config.pbtxt, folders; - for standard input."),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is safe, in the files; comments stay.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings too.")] = False,
    only: Annotated[list[str] | None, typer.Option("--rule", metavar="ID", help="Only this rule; repeatable.")] = None,
    ignored: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="ID", help="Not this rule; repeatable.")
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option(
            "--cluster-facts",
            help="What a cluster has, as `kubectl get nodes,resourcequotas,servingruntimes,clusterservingruntimes,configmaps "
            "-A -o yaml` prints it.",
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--cluster", help="Judge by a live cluster: its feature flags, runtimes, nodes and quotas.")
    ] = False,
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    list_rules: Annotated[bool, typer.Option("--list-rules", help="List the rules and end.")] = False,
    output: Annotated[LintFormat, typer.Option("--output", "-o", help="How findings are shown.")] = LintFormat.HUMAN,
    quiet: QuietOption = False,
) -> None:
    """Say what KServe, Knative or Triton would refuse, ignore or do otherwise than written, before it is applied.

    Exit codes: 0 no errors, 1 errors (with --strict: or warnings), 2 something cannot be read.

    Example:  kserve-ext lint manifests model_repo/emulated
    """
    from kserve_ext import linting
    from kserve_ext.cli import output as show
    from kserve_ext.errors import InputError
    from kserve_ext.lint import Severity, check, mend

    rules = _chosen(only or [], ignored or [])
    if list_rules:
        _show_rules(rules, output)
        return
    if fix and linting.STDIN in (paths or []):
        raise typer.BadParameter("--fix writes files: it takes no standard input")
    if not paths:
        raise typer.BadParameter("a file or folder, or --list-rules", param_hint="PATH…")
    found = linting.read_sources(paths, stdin=sys.stdin.read() if linting.STDIN in paths else "")
    known, unread = _facts(facts, live, context, kubeconfig)
    for note in (*found.notes, *unread):
        show.note(f"note: {note}", quiet=quiet)
    if fix:
        after, outcome, mended = mend(found.sources, facts=known, rules=rules)
        for file in linting.write_changed(found.sources, after):
            show.note(f"wrote {file}", quiet=quiet)
        show.note(f"{mended} mended", quiet=quiet)
    else:
        outcome = check(found.sources, facts=known, rules=rules)
    _show(outcome, rules, output, quiet=quiet)
    if outcome.problems:
        raise InputError(*outcome.problems)
    if not outcome.checked:
        raise InputError(_nothing(paths))
    failing = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
    raise typer.Exit(1 if any(finding.severity in failing for finding in outcome.findings) else 0)


def _facts(file: Path | None, live: bool, context: str, kubeconfig: str) -> tuple[ClusterFacts | None, Sequence[str]]:
    """What is known of a cluster, from a file or from itself, and what of it may not be read. Raises InputError."""
    from kserve_ext import linting

    check_only_live(live, "--cluster", context, kubeconfig)
    if not live:
        return (linting.read_facts(file) if file is not None else None), ()
    if file is not None:
        raise typer.BadParameter("--cluster and --cluster-facts: one of them")
    from kserve_ext.cli.cluster_options import open_cluster
    from kserve_ext.cluster.collect import facts_text

    cluster = open_cluster(context, "", kubeconfig)
    text, notes = facts_text(cluster)
    return linting.facts_of(text, f"cluster {cluster.name}"), notes


def _nothing(paths: Sequence[str]) -> Problem:
    from kserve_ext.errors import Problem

    allowed = "InferenceService, ServingRuntime, HorizontalPodAutoscaler, ScaledObject, config.pbtxt"
    return Problem(file=", ".join(paths), what="nothing to look at", allowed=allowed)


def _chosen(only: Sequence[str], ignored: Sequence[str]) -> tuple[Rule, ...]:
    """The rules that run. Raises InputError for an id that no rule has."""
    import difflib

    from kserve_ext.errors import InputError, Problem
    from kserve_ext.lint import BY_ID, RULES

    problems = []
    for option, name in (*(("--rule", one) for one in only), *(("--ignore", one) for one in ignored)):
        if name not in BY_ID:
            near = difflib.get_close_matches(name.upper(), BY_ID, n=1)
            allowed = f"{near[0]} is the nearest" if near else "an id of --list-rules"
            problems.append(Problem(field=option, what="no such rule", found=name, allowed=allowed))
    if problems:
        raise InputError(*problems, remedy="`kserve-ext lint --list-rules` prints all ids")
    return tuple(rule for rule in RULES if rule.id not in ignored and (not only or rule.id in only))


def _show_rules(rules: Sequence[Rule], output: LintFormat) -> None:
    from kserve_ext.cli import output as show
    from kserve_ext.cli.formats import Format
    from kserve_ext.lint.pages import group

    rows = [
        {
            "rule": rule.id, "name": rule.name, "about": group(rule), "severity": rule.severity.value, "what": rule.what,
            "leave": rule.leave, "remedy": rule.remedy, "fix": rule.fix,
        }
        for rule in rules
    ]  # fmt: skip
    if output in (LintFormat.JSON, LintFormat.YAML):
        show.emit({"rules": rows}, Format(output.value))
    else:
        columns = ("rule", "severity", "about", "what")
        show.table(columns, [[row[column] for column in columns] for row in rows])


def _show(outcome: Outcome, rules: Sequence[Rule], output: LintFormat, *, quiet: bool) -> None:
    from kserve_ext import __version__
    from kserve_ext.cli import output as show
    from kserve_ext.cli.formats import Format
    from kserve_ext.lint import show as forms

    if output in (LintFormat.JSON, LintFormat.YAML):
        show.emit({"findings": [forms.as_dict(finding) for finding in outcome.findings]}, Format(output.value))
    elif output is LintFormat.SARIF:
        show.emit(forms.sarif(outcome.findings, rules, __version__), Format.JSON)
    elif output is LintFormat.GITHUB:
        sys.stdout.write(forms.github(outcome.findings))
    else:
        _show_people(outcome, quiet=quiet)


def _show_people(outcome: Outcome, *, quiet: bool) -> None:
    from collections import Counter

    from kserve_ext.cli import output as show
    from kserve_ext.lint import Severity

    styles = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
    for finding in outcome.findings:
        column = f":{finding.column}" if finding.column else ""
        where = f"{finding.file}:{finding.line}{column}"
        show.say(f"{where}: {finding.severity.value} {finding.rule}: {finding.message}", style=styles[finding.severity])
        show.say(f"    {finding.remedy}")
    counts = Counter(finding.severity for finding in outcome.findings)
    said = ", ".join(
        f"{counts[severity]} {severity.value}{'s' if counts[severity] != 1 else ''}" for severity in Severity
    )
    accepted = f", {outcome.ignored} ignored" if outcome.ignored else ""
    show.note(f"{said}{accepted} in {outcome.checked} objects and configs", quiet=quiet)
