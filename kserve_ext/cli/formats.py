"""Output formats, apart from what prints them: listing options must not import rich."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """Output formats of every command that shows a result."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class PageFormat(StrEnum):
    """Output formats of commands whose result is a page too."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    HTML = "html"
