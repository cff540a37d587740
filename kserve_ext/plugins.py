"""Policies by name: the built-in one, an installed one (entry-point group `kserve_ext.policies`), or module:function."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from kserve_ext.domain import Plan
from kserve_ext.errors import KserveExtError, PolicyError, Problem
from kserve_ext.policy import PlanRequest, plan
from kserve_ext.policy.check import check

GROUP = "kserve_ext.policies"


def plan_with(request: PlanRequest) -> Plan:
    """The plan of the policy that `request.intent.policy` names, checked.

    Raises PolicyError when the policy cannot be loaded, fails, or answers with something that is not a whole plan.
    """
    name = request.intent.policy
    policy = load_policy(name)
    try:
        decided = policy(request)
    except KserveExtError:
        raise
    except Exception as error:  # a user's code may raise anything: it becomes an error that names the line
        raise PolicyError(_failure(name, error)) from error
    return check(decided, name)


def load_policy(name: str) -> Callable[[PlanRequest], Any]:
    """The function a policy name stands for. Raises PolicyError."""
    if name == "default":
        return plan
    module, colon, function = name.partition(":")
    if colon:
        return _from_module(name, module, function)
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        allowed = ", ".join(["default", *sorted(installed), "module:function"])
        raise PolicyError(Problem(field="kserve-ext.dev/policy", what="no such policy", found=name, allowed=allowed))
    return _callable(name, installed[name].load())


def _from_module(name: str, module: str, function: str) -> Callable[[PlanRequest], Any]:
    folder = str(Path.cwd())  # a policy beside the manifest, as with `python -m`
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise PolicyError(
            Problem(field="kserve-ext.dev/policy", what=f"no module named {error.name}", found=name)
        ) from error
    except Exception as error:  # importing runs the user's code
        raise PolicyError(_failure(name, error)) from error
    for part in function.split("."):
        found = getattr(found, part, None)
    return _callable(name, found)


def _callable(name: str, found: object) -> Callable[[PlanRequest], Any]:
    if not callable(found):
        raise PolicyError(Problem(field="kserve-ext.dev/policy", what="not a function", found=name))
    return found


def _failure(name: str, error: Exception) -> Problem:
    frames = traceback.extract_tb(error.__traceback__)
    return Problem(
        file=frames[-1].filename if frames else "",
        line=frames[-1].lineno if frames else None,
        field=name,
        what=f"the policy failed: {type(error).__name__}: {error}",
    )
