"""Findings for other programs: SARIF against the shape of its schema, and GitHub's workflow commands."""

from __future__ import annotations

import jsonschema

from kserve_ext.lint import RULES, ConfigText, Sources, check
from kserve_ext.lint.show import as_dict, github, sarif

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
POSITIVE = {"type": "integer", "minimum": 1}
RULE = {
    "type": "object",
    "required": ["id"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"}, "name": {"type": "string"}, "shortDescription": TEXT, "fullDescription": TEXT, "help": TEXT,
        "defaultConfiguration": {"type": "object", "properties": {"level": LEVEL}},
    },
}  # fmt: skip
LOCATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation"],
            "additionalProperties": False,
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "properties": {"uri": {"type": "string", "pattern": r"^[^\s\\]+$"}},
                },
                "region": {
                    "type": "object",
                    "required": ["startLine"],
                    "additionalProperties": False,
                    "properties": {"startLine": POSITIVE, "startColumn": POSITIVE},
                },
            },
        },
        "logicalLocations": {
            "type": "array",
            "items": {"type": "object", "properties": {"fullyQualifiedName": {"type": "string"}}},
        },
    },
}
RESULT = {
    "type": "object",
    "required": ["message"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0}, "level": LEVEL, "message": TEXT,
        "locations": {"type": "array", "items": LOCATION, "minItems": 1},
    },
}  # fmt: skip
SARIF = {  # the part of the SARIF 2.1.0 schema that a log of one run without artifacts uses
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "version": {"type": "string"},
                                    "rules": {"type": "array", "items": RULE, "uniqueItems": True},
                                },
                            },
                        },
                    },
                    "results": {"type": "array", "items": RESULT},
                },
            },
        },
    },
}

FINDINGS = check(
    Sources(
        manifests={
            "my files/a,b.yaml": "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: A}\n"
            "spec: {predictor: {timeout: 3}}\n",
        },
        configs={"m/digits/config.pbtxt": ConfigText(text="max_batch: 8", model="digits")},
    )
).findings


def test_the_log_has_the_shape_of_sarif() -> None:
    log = sarif(FINDINGS, RULES, "1.2.3")
    jsonschema.Draft202012Validator(SARIF).validate(log)
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) == len(FINDINGS) >= 4
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])


def test_a_github_command_escapes_what_would_end_it() -> None:
    lines = github(FINDINGS).splitlines()
    assert len(lines) == len(FINDINGS)
    assert lines[0].startswith("::error file=m/digits/config.pbtxt,line=1,col=1,title=KX402::")
    assert any(line.startswith("::warning file=my files/a%2Cb.yaml,line=") for line in lines)


def test_the_plain_form_has_the_agreed_fields() -> None:
    names = ["rule", "severity", "file", "line", "column", "field", "message", "remedy"]
    assert all(list(as_dict(finding)) == names for finding in FINDINGS)
