"""Every error a user can meet, each with what happened, where, and what to do.

KserveExtError
├── InputError                 exit 2   what the user wrote is wrong: file:line, field path, found, allowed
│   ├── ManifestError                   an InferenceService or its kserve-ext.dev/ annotations
│   ├── ModelError                      a model file or a model repository entry
│   ├── ProfileError                    a profile: wrong schema version, wrong model, missing points
│   └── PolicyError                     a user's policy that cannot be loaded or answers nonsense
├── InfeasibleError            exit 3   no plan holds the SLO: binding constraint and the nearest plan that works
├── UnreachableError           exit 4   a server or cluster does not answer
│   ├── TritonError                     the embedded server: not found, port taken, model not loadable, died
│   └── ClusterError                    a cluster that cannot take it: credentials expired, no KServe, namespace going away
├── RejectedError              exit 2   the cluster refused an object: quota, rights, webhook, unknown field
│   └── ConflictError                   fields that another manager owns
├── NotReadyError              exit 1   an InferenceService did not become ready in the time given; the cause is named
├── MissingExtraError          exit 2   a command needs an optional dependency that is not installed
└── BusyError                  exit 2   another run holds the same output folder
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class KserveExtError(Exception):
    """Base of all errors shown to a user: `message` says what, `remedy` says what to do (one line, may be empty)."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in an input: where it stands, what was found, what is allowed."""

    what: str
    file: str = ""
    line: int | None = None
    field: str = ""
    found: str = ""
    allowed: str = ""

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line is not None else "")
        head = ": ".join(part for part in (place, self.field, self.what) if part)
        found = f"; found {self.found}" if self.found else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return head + found + allowed


class InputError(KserveExtError):
    """Input that cannot be used. `problems` holds every fault found, not only the first."""

    def __init__(self, *problems: Problem, remedy: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), remedy=remedy)
        self.problems = problems


class ManifestError(InputError):
    """An InferenceService, or an annotation on it, that cannot be read as an intent."""


class ModelError(InputError):
    """A model file or repository entry that cannot be served as asked."""


class ProfileError(InputError):
    """A profile that cannot be used: unreadable, of another schema version, of another model, or without points."""


class PolicyError(InputError):
    """A user's policy that cannot be loaded, or whose answer is not a plan."""


class InfeasibleError(KserveExtError):
    """No plan holds the SLO. `binding` names the constraint, `nearest` says in words what would work."""

    exit_code = 3

    def __init__(self, message: str, *, binding: str, nearest: str) -> None:
        super().__init__(message, remedy=nearest)
        self.binding = binding
        self.nearest = nearest


class UnreachableError(KserveExtError):
    """A server or cluster that does not answer."""

    exit_code = 4


class TritonError(UnreachableError):
    """The embedded Triton server could not be found, started, kept alive, or made to load a model."""


class ClusterError(UnreachableError):
    """A cluster that answers, and cannot take what is asked: the cluster is to be mended, not what the user wrote."""


class RejectedError(KserveExtError):
    """An object that the API server, an admission webhook or a quota refused; nothing of it was stored."""


class ConflictError(RejectedError):
    """Fields that another field manager owns with other values. `fields` maps each to its manager."""

    def __init__(self, message: str, *, fields: Mapping[str, str], remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.fields = fields


class NotReadyError(KserveExtError):
    """An InferenceService that is not ready in the time given. The message names the cause as far as it is known."""

    exit_code = 1


class MissingExtraError(KserveExtError):
    """A part that needs an optional dependency."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed", remedy=f"pip install 'kserve-ext[{extra}]'")
        self.module = module
        self.extra = extra


class BusyError(KserveExtError):
    """Another run is writing to the same place."""
