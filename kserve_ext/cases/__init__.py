"""Policies beside each other on one service's traffic: a case, every policy over its requests, an oracle, one knob turned."""

from kserve_ext.cases.build import Case, Question, arrivals, build_case, plan_for, split

__all__ = ["Case", "Question", "arrivals", "build_case", "plan_for", "split"]
