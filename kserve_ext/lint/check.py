"""The linter itself: texts in, findings out, and texts with what is safe to mend mended.

What cannot be read is a problem, not a finding, and does not keep the rest from being looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kserve_ext.errors import ManifestError, Problem
from kserve_ext.intent.document import Node
from kserve_ext.lint.config import Config, ModelFolder, read_config
from kserve_ext.lint.edit import apply_edits
from kserve_ext.lint.facts import ClusterFacts
from kserve_ext.lint.finding import Finding, Hit, Rule
from kserve_ext.lint.ignores import Ignore, comments, read_ignores
from kserve_ext.lint.manifest import read_objects
from kserve_ext.lint.project import build_project
from kserve_ext.lint.rules import BY_ID, RULES

_ROUNDS = 50  # each mends one finding of every file


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigText:
    """A config.pbtxt and where it belongs."""

    text: str
    model: str
    variant: str = ""
    folder: ModelFolder = field(default_factory=ModelFolder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Texts by file name, with / between folders."""

    manifests: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, ConfigText] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found, by file and line. `checked` counts the objects and configs that rules looked at."""

    findings: tuple[Finding, ...]
    ignored: int
    problems: tuple[Problem, ...]
    checked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One text, read."""

    objects: tuple[Node, ...] = ()
    config: Config | None = None
    ignores: tuple[Ignore, ...] = ()
    problems: tuple[Problem, ...] = ()


def check(sources: Sources, *, facts: ClusterFacts | None = None, rules: Sequence[Rule] = RULES) -> Outcome:
    """Every finding that is not ignored."""
    return _check(_read_all(sources), facts, rules)


def mend(
    sources: Sources, *, facts: ClusterFacts | None = None, rules: Sequence[Rule] = RULES
) -> tuple[Sources, Outcome, int]:
    """The sources with every safe fix made, what is still found in them, and how many findings were mended.

    One finding of a file at a time: the next is looked for in the text as it then is. A fix that would leave a text
    that cannot be read, or the same finding, is not made.
    """
    read = _read_all(sources)
    outcome = _check(read, facts, rules)
    mended = 0
    for _ in range(_ROUNDS):
        step = _one_round(sources, outcome)
        if not step:
            break
        sources = _with_texts(sources, step)
        for file in step:
            read[file] = _read_one(sources, file)
        after = _check(read, facts, rules)
        mended += len(outcome.findings) - len(after.findings)
        outcome = after
    return sources, outcome, mended


def _one_round(sources: Sources, outcome: Outcome) -> dict[str, str]:
    """The new text of each file in which something can be mended."""
    changed: dict[str, str] = {}
    for finding in outcome.findings:
        if finding.edits and finding.file not in changed:
            pbtxt = finding.file in sources.configs
            before = sources.configs[finding.file].text if pbtxt else sources.manifests[finding.file]
            after = apply_edits(before, finding.edits, pbtxt=pbtxt)
            if after != before and not _read_one(_with_texts(sources, {finding.file: after}), finding.file).problems:
                changed[finding.file] = after
    return changed


def _with_texts(sources: Sources, texts: Mapping[str, str]) -> Sources:
    manifests = {file: texts.get(file, text) for file, text in sources.manifests.items()}
    configs = {file: replace(one, text=texts[file]) if file in texts else one for file, one in sources.configs.items()}
    return Sources(manifests=manifests, configs=configs)


def _read_all(sources: Sources) -> dict[str, _Read]:
    return {file: _read_one(sources, file) for file in (*sources.manifests, *sources.configs)}


def _read_one(sources: Sources, file: str) -> _Read:
    if file in sources.configs:
        one = sources.configs[file]
        config = read_config(one.text, file, model=one.model, variant=one.variant, folder=one.folder)
        return _Read(config=config, ignores=tuple(comments(one.text, file, [1])))
    text = sources.manifests[file]
    try:
        objects = read_objects(text, file)
    except ManifestError as error:
        return _Read(problems=error.problems)
    return _Read(objects=objects, ignores=read_ignores(text, file, objects))


def _check(read: Mapping[str, _Read], facts: ClusterFacts | None, rules: Sequence[Rule]) -> Outcome:
    objects = [found for one in read.values() for found in one.objects]
    configs = [one.config for one in read.values() if one.config is not None]
    ignores = [found for one in read.values() for found in one.ignores]
    project = build_project(objects, configs, facts=facts, ignores=ignores, known_rules=BY_ID)
    found = dict.fromkeys(_finding(rule, hit) for rule in rules for hit in rule.check(project))
    kept = [finding for finding in found if not any(ignore.covers(finding) for ignore in ignores)]
    kept.sort(key=lambda finding: (finding.file, finding.line, finding.column or 0, finding.rule))
    looked_at = len(project.services) + len(project.runtimes) + len(project.autoscalers) + len(configs)
    problems = tuple(problem for one in read.values() for problem in one.problems)
    return Outcome(findings=tuple(kept), ignored=len(found) - len(kept), problems=problems, checked=looked_at)


def _finding(rule: Rule, found: Hit) -> Finding:
    place = found.place
    return Finding(
        rule=rule.id,
        severity=rule.severity,
        file=place.file,
        line=place.line,
        column=place.column,
        field=place.field,
        message=found.message,
        remedy=found.remedy or rule.remedy,
        edits=found.edits,
    )
