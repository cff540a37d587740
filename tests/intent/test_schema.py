from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kserve_ext.intent import ANNOTATIONS, PREFIX, intent_schema, intent_schema_text, read_services

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(
    path for path in (ROOT / "manifests" / "examples").glob("*.yaml") if "kind: InferenceService\n" in path.read_text()
)
CHECK = jsonschema.Draft202012Validator(intent_schema())


def errors(text: str) -> list[str]:
    return [error.json_path for error in CHECK.iter_errors(yaml.safe_load(text))]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(intent_schema())


def test_the_schema_file_is_fresh() -> None:
    kept = (ROOT / "manifests" / "intent.schema.json").read_text(encoding="utf-8")
    assert kept == intent_schema_text(), "run: kserve-ext schema > manifests/intent.schema.json"
    assert json.loads(kept) == intent_schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_read_and_fits_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (service,) = read_services(text, path.name)
    assert service.intent.name == path.stem
    assert (ROOT / "model_repo" / service.intent.model / "config.pbtxt").exists()
    assert not errors(text)
    assert text.startswith("# yaml-language-server: $schema=../intent.schema.json\n")


def test_there_are_examples() -> None:
    assert {"digits", "embed", "emulated"} <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("row", ANNOTATIONS, ids=lambda row: row.key)
def test_what_the_schema_says_of_an_annotation_comes_from_its_row(row: Any) -> None:
    said = intent_schema()["properties"]["metadata"]["properties"]["annotations"]["properties"][row.name]
    assert said["pattern"] == row.pattern
    assert row.doc in said["description"]
    assert row.allowed in said["description"]
    assert said["examples"] == list(row.examples)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("kserve-ext.dev/hardware: cpu", False),
        ("example.com/owner: me", False),
        ("kserve-ext.dev/slo: 5ms", True),
        ("kserve-ext.dev/protocol: http", True),
        ("kserve-ext.dev/max-replicas: 3", True),  # a number, not text
    ],
)
def test_the_schema_refuses_what_reading_refuses(
    with_annotations: Callable[..., str], line: str, refused: bool
) -> None:
    text = with_annotations("kserve-ext.dev/slo-p99: 60ms", "kserve-ext.dev/rate: 20rps", line)
    assert bool(errors(text)) is refused


@pytest.mark.parametrize(
    "missing", [("metadata", "annotations", PREFIX + "slo-p99"), ("metadata", "name"), ("spec", "predictor"), ("kind",)]
)
def test_the_schema_asks_for_what_is_needed(digits: str, missing: tuple[str, ...]) -> None:
    manifest = copy.deepcopy(yaml.safe_load(digits))
    inner = manifest
    for key in missing[:-1]:
        inner = inner[key]
    del inner[missing[-1]]
    assert not CHECK.is_valid(manifest)
