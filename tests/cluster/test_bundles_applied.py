"""What is applied together, what is kept of it, and which one to go back to."""

from __future__ import annotations

from typing import Any

import pytest
from cluster.objects_of_a_cluster import service

from kserve_ext.cluster.features import has_field, schema_of, unknown_fields
from kserve_ext.cluster.history import (
    APPLIED,
    FAILED,
    GOOD,
    KEPT,
    Entry,
    config_map,
    digest_of,
    next_entry,
    read_history,
    surplus,
    to_go_back_to,
)
from kserve_ext.cluster.objects import in_order, read_manifests, ref_of
from kserve_ext.cluster.units import is_rendered, units_of
from kserve_ext.errors import InputError


def entry(number: int, outcome: str = GOOD, digest: str = "") -> Entry:
    return Entry(
        number=number,
        outcome=outcome,
        digest=digest or f"d{number}",
        applied_at="",
        objects=(),
        name=f"digits-bundle-{number}",
    )


def isvc(name: str = "digits", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, **metadata},
        "spec": {"predictor": {"model": {"runtime": f"{name}-triton"}}},
    }


def other(kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    version = "v1" if kind == "ConfigMap" else "serving.kserve.io/v1alpha1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}}


# ------------------------------------------------------------------------------------------------------------ history


def test_the_same_bundle_twice_is_one_entry() -> None:
    objects = (isvc(),)
    kept = entry(4, digest=digest_of(objects))
    assert next_entry((entry(3), kept), objects, service="digits", applied_at="now") is kept
    assert next_entry((kept, entry(5)), objects, service="digits", applied_at="now").number == 6


def test_an_entry_read_back_from_its_config_map_is_the_same() -> None:
    objects = (other("ServingRuntime", "digits-triton"), isvc())
    made = next_entry((), objects, service="digits", applied_at="2026-11-30T12:00:00+00:00")
    written = config_map(made, service())
    assert read_history([written]) == (made,)
    assert written["metadata"]["ownerReferences"][0]["uid"] == "u1"


def test_an_entry_that_somebody_broke_is_left_out() -> None:
    written = config_map(next_entry((), (isvc(),), service="digits", applied_at=""), service())
    assert read_history([written | {"data": {}}, {"metadata": {"name": "x"}}]) == ()


@pytest.mark.parametrize(
    ("history", "back"),
    [
        ([], None),
        ([entry(1)], None),
        ([entry(1), entry(2)], 1),
        ([entry(1), entry(2, FAILED)], 1),
        ([entry(1), entry(2), entry(3, FAILED), entry(4, FAILED)], 2),
        ([entry(1, FAILED), entry(2, APPLIED)], None),
        ([entry(1), entry(2, digest="d1")], None),  # what runs is what it would go back to
        ([entry(1), entry(2, FAILED), entry(3, digest="d1")], None),
    ],
)
def test_the_way_back_leads_to_the_last_good_one_that_is_another(history: list[Entry], back: int | None) -> None:
    found = to_go_back_to(history)
    assert (found.number if found else None) == back


def test_ten_are_kept_and_the_last_good_one_in_any_case() -> None:
    history = [entry(1), *(entry(number, FAILED) for number in range(2, 15))]
    assert [one.number for one in surplus(history)] == [2, 3, 4]
    assert surplus(history[:KEPT]) == ()


# -------------------------------------------------------------------------------------------------------------- units


def test_what_is_referred_to_goes_first() -> None:
    found = in_order([isvc(), other("ConfigMap", "digits-plan"), other("ServingRuntime", "digits-triton")])
    assert [one["kind"] for one in found] == ["ServingRuntime", "ConfigMap", "InferenceService"]


def test_two_services_in_one_text_are_two_units_each_with_its_own() -> None:
    objects = [
        isvc("a"),
        isvc("a-b"),
        other("ServingRuntime", "a-triton"),
        other("ServingRuntime", "a-b-triton"),
        other("ConfigMap", "a-plan"),
        other("ConfigMap", "a-b-plan"),
    ]
    one, two = units_of(objects, namespace="models")
    assert [str(ref_of(found)) for found in one.objects] == [
        "ServingRuntime a-triton",
        "ConfigMap a-plan",
        "InferenceService a",
    ]
    assert [found["metadata"]["name"] for found in two.objects] == ["a-b-triton", "a-b-plan", "a-b"]
    assert all(found["metadata"]["namespace"] == "models" for unit in (one, two) for found in unit.objects)


def test_the_namespace_is_the_manifests_own_and_another_one_is_refused() -> None:
    assert units_of([isvc(namespace="own")], namespace="context")[0].namespace == "own"
    with pytest.raises(InputError, match="own"):
        units_of([isvc(namespace="own")], namespace="context", asked="other")


def test_a_bundle_has_a_service() -> None:
    with pytest.raises(InputError, match="ConfigMap"):
        units_of([other("ConfigMap", "x")], namespace="models")


def test_a_service_with_its_plan_beside_it_has_been_rendered() -> None:
    assert is_rendered([isvc(), other("ConfigMap", "digits-plan")])
    assert not is_rendered([isvc(), other("ConfigMap", "digits-settings")])
    assert not is_rendered([])


def test_what_is_no_object_is_named_by_file_and_line() -> None:
    with pytest.raises(InputError, match=r"x\.yaml:1.*kind"):
        read_manifests([("x.yaml", "apiVersion: v1\nmetadata:\n  name: a\n")])


# ----------------------------------------------------------------------------------------------------------- features

OPENAPI = {
    "components": {
        "schemas": {
            "io.kserve.serving.v1beta1.InferenceService": {
                "x-kubernetes-group-version-kind": [
                    {"group": "serving.kserve.io", "kind": "InferenceService", "version": "v1beta1"}
                ],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {},
                    "spec": {"allOf": [{"$ref": "#/components/schemas/spec"}]},
                },
            },
            "spec": {
                "properties": {
                    "predictor": {
                        "properties": {
                            "maxReplicas": {"type": "integer"},
                            "annotations": {"additionalProperties": {"type": "string"}},
                            "free": {"x-kubernetes-preserve-unknown-fields": True},
                            "containers": {"items": {"properties": {"name": {}, "image": {}}}},
                        }
                    }
                }
            },
        }
    }
}


def test_a_field_that_the_crd_does_not_have_is_named_with_the_nearest_that_it_has() -> None:
    found = isvc()
    found["spec"] = {
        "predictor": {
            "maxReplica": 3,
            "annotations": {"any/thing": "1"},
            "free": {"any": 1},
            "containers": [{"name": "x", "imagee": "y"}],
        },
        "canary": [],
    }
    schema = schema_of(OPENAPI, ref_of(found))
    assert schema is not None
    problems = {problem.field: problem.allowed for problem in unknown_fields(found, schema, OPENAPI)}
    assert problems == {
        "spec.predictor.maxReplica": "the nearest it has is maxReplicas",
        "spec.predictor.containers[0].imagee": "the nearest it has is image",
        "spec.canary": "",
    }


def test_features_are_told_by_schema() -> None:
    schema = schema_of(OPENAPI, ref_of(isvc())) or {}
    assert has_field(schema, OPENAPI, "spec", "predictor", "containers", "image")
    assert not has_field(schema, OPENAPI, "spec", "canary")
    assert schema_of(OPENAPI, ref_of(other("ServingRuntime", "x"))) is None
