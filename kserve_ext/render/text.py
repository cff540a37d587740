"""Plain dicts and lists to YAML text: stable, in block style, and read the same by YAML 1.1 and 1.2 parsers.

Keys stay in the order given, except that an object starts with apiVersion, kind, metadata, spec.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

_FIRST = ("apiVersion", "kind", "metadata", "spec")

# Text that some YAML parser reads as a number, a time or a truth value: PyYAML leaves `1e3` and `y` unquoted, and the
# Go parser of kubectl then makes 1000 and true of them.
_LOOKS_LIKE_A_NUMBER = re.compile(r"[-+]?\.?[0-9][0-9a-fA-FxXoO_.:+-]*")
_LOOKS_LIKE_A_TRUTH_VALUE = re.compile(r"y|n|yes|no|on|off|true|false|null|~", re.IGNORECASE)


def to_yaml(value: Mapping[str, Any]) -> str:
    """The YAML text of an object. Reading it back gives the same values."""
    ordered = {key: value[key] for key in _FIRST if key in value} | dict(value)
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31)


class _Dumper(yaml.SafeDumper):
    """Block style, no anchors, ambiguous text in double quotes, text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    ambiguous = _LOOKS_LIKE_A_NUMBER.fullmatch(text) or _LOOKS_LIKE_A_TRUTH_VALUE.fullmatch(text)
    unprintable = not all(line.isprintable() for line in lines)  # other line breaks among them
    style = '"' if ambiguous or unprintable else "|" if len(lines) > 1 else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def decimal(value: float) -> str:
    """A decimal number to the thousandth, without an exponent: 11.20 -> `11.2`."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
