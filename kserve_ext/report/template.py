"""A template of this package and its content in, HTML text out. Everything but what is marked safe is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from kserve_ext.errors import MissingExtraError


def fill(name: str, content: Mapping[str, Any]) -> str:
    """The page as HTML text. Raises MissingExtraError where jinja2 is not installed."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise MissingExtraError("jinja2", "report") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_package_text), trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(name).render(content)


def _package_text(name: str) -> str:
    return (files("kserve_ext.report") / name).read_text(encoding="utf-8")
