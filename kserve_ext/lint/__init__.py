"""Rules over manifests, config.pbtxt, model repositories and cluster facts. Pure: texts in, findings out."""

from __future__ import annotations

from kserve_ext.lint.check import ConfigText, Outcome, Sources, check, mend
from kserve_ext.lint.config import ModelFolder
from kserve_ext.lint.facts import ClusterFacts, cluster_facts
from kserve_ext.lint.finding import Finding, Rule, Severity
from kserve_ext.lint.rules import BY_ID, RULES

__all__ = [
    "BY_ID", "RULES", "ClusterFacts", "ConfigText", "Finding", "ModelFolder", "Outcome", "Rule", "Severity", "Sources",
    "check", "cluster_facts", "mend",
]  # fmt: skip
