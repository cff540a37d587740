"""The pages in docs/lint are those that the rules make. KSERVE_EXT_UPDATE_GOLDEN=1 writes them instead."""

from __future__ import annotations

import os
from pathlib import Path

from kserve_ext.lint import RULES
from kserve_ext.lint.pages import rule_pages, rules_table

FOLDER = Path(__file__).parents[2] / "docs" / "lint"
BEGIN, END = "<!-- rules -->\n", "<!-- /rules -->"


def test_the_pages_are_in_step_with_the_rules() -> None:
    pages = rule_pages(RULES)
    if os.environ.get("KSERVE_EXT_UPDATE_GOLDEN") == "1":
        for old in FOLDER.glob("KX*.md"):
            old.unlink()
        for name, text in pages.items():
            (FOLDER / name).write_text(text)
    assert {path.name: path.read_text() for path in FOLDER.glob("KX*.md")} == dict(pages)


def test_the_table_is_in_step_with_the_rules() -> None:
    path = FOLDER / "README.md"
    head, rest = path.read_text().split(BEGIN)
    table, tail = rest.split(END)
    if os.environ.get("KSERVE_EXT_UPDATE_GOLDEN") == "1":
        table = rules_table(RULES)
        path.write_text(head + BEGIN + table + END + tail)
    assert table == rules_table(RULES)
