"""The documentation of the rules as Markdown: one page for each, and a table of all. Rules in, texts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kserve_ext.lint.finding import Rule

GROUPS = {
    "KX0": "The linter's own comments", "KX10": "Deployment mode", "KX11": "Knative mode", "KX12": "Knative mode",
    "KX14": "Standard mode", "KX15": "Standard mode", "KX20": "KServe's webhooks", "KX21": "KServe's webhooks",
    "KX22": "Serving", "KX23": "Serving", "KX3": "Knative's autoscaler", "KX40": "config.pbtxt",
    "KX42": "Config and service", "KX44": "Ensembles", "KX5": "Model repository", "KX6": "Containers and GPUs",
    "KX7": "HPAs and ScaledObjects", "KX8": "The cluster (--cluster-facts)",
}  # fmt: skip


def rule_page(rule: Rule) -> str:
    """The page of one rule."""
    fix = rule.fix or "none: what to write instead is a person's choice"
    return (
        f"# {rule.id} {rule.name}\n\n"
        f"{group(rule)} · {rule.severity.value}\n\n"
        f"{rule.what}\n\n"
        f"**If you leave it.** {rule.leave}\n\n"
        f"**Remedy.** {_sentence(rule.remedy)}\n\n"
        f"**`--fix`** {fix}.\n\n"
        f"To accept it in one place: `# kserve-ext: ignore {rule.id} REASON` on the line or above it.\n"
    )


def rule_pages(rules: Sequence[Rule]) -> Mapping[str, str]:
    """All pages by file name."""
    return {f"{rule.id}.md": rule_page(rule) for rule in rules}


def rules_table(rules: Sequence[Rule]) -> str:
    """All rules in a table with links to their pages."""
    head = "| rule | about | severity | looks for | `--fix` |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| [{rule.id}]({rule.id}.md) {rule.name} | {group(rule)} | {rule.severity.value} | {rule.what} | "
        f"{'yes' if rule.fix else ''} |\n"
        for rule in rules
    )


def group(rule: Rule) -> str:
    """What a rule is about, from its number."""
    return next(name for prefix, name in GROUPS.items() if rule.id.startswith(prefix))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
