"""A profile as JSON text, with a schema version, and back.

What is read is checked field by field; a file of another schema version or of another model is refused by name,
never half understood.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from kserve_ext.domain import Profile
from kserve_ext.errors import Problem, ProfileError
from kserve_ext.profile.check import faults

SCHEMA_VERSION = 1


def dump(profile: Profile) -> str:
    """The profile as indented JSON, one line per point, ending in a newline; the same profile gives the same text."""
    record = {"schema_version": SCHEMA_VERSION, **asdict(profile)}
    stages = record.pop("stages")
    head = json.dumps(record, indent=1, sort_keys=False)
    return head[:-2] + ',\n "stages": [\n' + ",\n".join(_dump_stage(stage) for stage in stages) + "\n ]\n}\n"


def _dump_stage(stage: dict[str, Any]) -> str:
    points = ",\n".join("    " + json.dumps(point) for point in stage.pop("points"))
    return "  " + json.dumps(stage)[:-1] + ', "points": [\n' + points + "\n  ]}"


def load(text: str, file: str, *, model: str | None = None) -> Profile:
    """The profile in `text`. Raises ProfileError naming the file and every wrong field.

    With `model`, a profile of another model is refused.
    """
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProfileError(Problem(file=file, line=error.lineno, what=f"not JSON: {error.msg}")) from error
    if not isinstance(record, dict):
        raise ProfileError(Problem(file=file, what="not a profile", found=type(record).__name__, allowed="an object"))
    version = record.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise ProfileError(
            Problem(file=file, field="schema_version", what="a profile this version cannot read",
                    found=str(version), allowed=str(SCHEMA_VERSION)),
            remedy="measure it again with `kserve-ext profile`",
        )  # fmt: skip
    profile = _validate(record, file)
    if model is not None and profile.model != model:
        raise ProfileError(
            Problem(file=file, field="model", what="a profile of another model", found=profile.model, allowed=model)
        )
    return profile


def _validate(record: dict[str, Any], file: str) -> Profile:
    try:
        profile = TypeAdapter(Profile).validate_json(json.dumps(record), strict=True)
    except ValidationError as error:
        raise ProfileError(*(_problem(fault, file) for fault in error.errors())) from error
    read = asdict(profile)
    problems = [
        *(
            Problem(file=file, field=path, what="unknown field", allowed=", ".join(known))
            for path, known in _unknown(record, read)
        ),
        *(Problem(file=file, field=path, what=what) for path, what in faults(read)),
    ]
    if problems:
        raise ProfileError(*problems)
    return profile


def _problem(fault: ErrorDetails, file: str) -> Problem:
    field = ".".join(map(str, fault["loc"]))
    missing = fault["type"] == "missing"
    return Problem(file=file, field=field, what=fault["msg"], found="" if missing else repr(fault["input"])[:60])


def _unknown(record: Any, known: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Paths in `record` that the profile has no field for; free-form mappings (host, versions) are equal to it."""
    if isinstance(record, dict):
        for key, value in record.items():
            if key not in known:
                yield f"{path}{key}", sorted(known)
            else:
                yield from _unknown(value, known[key], f"{path}{key}.")
    elif isinstance(record, list):
        for index, (value, twin) in enumerate(zip(record, known, strict=True)):
            yield from _unknown(value, twin, f"{path}{index}.")
