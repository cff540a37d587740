from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
import yaml
from operating.asking import admission, body, models, mutated, patched, service

from kserve_ext.intent.annotations import PLANNED
from kserve_ext.intent.read import read_services
from kserve_ext.lint.facts import ClusterFacts, NodeFact
from kserve_ext.operator.filled import LAST_APPLIED, as_written, bare, planned_entries
from kserve_ext.operator.models import Models
from kserve_ext.operator.planner import Planner, named
from kserve_ext.operator.review import Asked, read_review, service_of
from kserve_ext.operator.review import asked as wanted_of
from kserve_ext.operator.services import left_to_fill, objects_of
from kserve_ext.plugins import plan_with
from kserve_ext.policy import PlanRequest
from kserve_ext.render.bundle import render, to_yaml


def without_note(found: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(found)
    result["metadata"]["annotations"].pop(PLANNED, None)
    return result


def test_what_is_admitted_is_what_the_command_line_renders_byte_for_byte() -> None:
    written = service()
    (read,) = read_services(to_yaml(written), "m.yaml")
    model = models().find(read.intent)
    plan = plan_with(PlanRequest(intent=read.intent, profiles=model.profiles))
    files = render(read, plan, model.configs).files

    stored, response = mutated(written)

    assert response["allowed"]
    assert to_yaml(without_note(stored)) == files["inferenceservice.yaml"]
    review = read_review(body(written))
    wanted = wanted_of(review)
    made = objects_of({**stored, "metadata": {**stored["metadata"], "uid": "u"}}, wanted, plan, model)
    rendered = {name: yaml.safe_load(files[name]) for name in ("servingruntime.yaml", "plan.yaml")}
    for found, name in zip(made, rendered, strict=True):
        found["metadata"].pop("ownerReferences")
        assert to_yaml(found) == to_yaml(rendered[name])


def test_kubectl_shows_the_numbers_and_the_reasons() -> None:
    _, response = mutated(service())
    assert response["warnings"][0].startswith("kserve-ext: planned for cpu: m ")
    assert any("p99" in line and "digits-plan" in line for line in response["warnings"])
    assert any("concurrency_limit" in line for line in response["warnings"])
    assert all(len(line) <= 256 and "\n" not in line for line in response["warnings"])


def test_what_was_set_by_hand_is_kept_and_told_where_it_contradicts_the_slo() -> None:
    written = service()
    written["spec"]["predictor"]["containerConcurrency"] = 1
    written["spec"]["predictor"]["maxReplicas"] = 1
    stored, response = mutated(written)
    assert stored["spec"]["predictor"]["containerConcurrency"] == 1
    assert any("contradiction" in line for line in response["warnings"])


def test_asking_again_changes_nothing() -> None:
    stored, _ = mutated(service())
    again, response = mutated(stored)
    assert again == stored
    assert "patch" not in response


def test_an_update_that_changes_nothing_is_not_looked_at() -> None:
    stored, _ = mutated(service())
    touched = copy.deepcopy(stored)
    touched["metadata"]["finalizers"] = ["inferenceservice.finalizers"]
    assert mutated(touched, stored)[1] == {"uid": "u", "allowed": True}


def test_a_new_slo_is_planned_anew_from_what_a_person_wrote() -> None:
    stored, _ = mutated(service())
    edited = copy.deepcopy(stored)
    edited["metadata"]["annotations"]["kserve-ext.dev/rate"] = "50..3000rps"
    replanned, _ = mutated(edited, stored)
    fresh, _ = mutated(service(rate="50..3000rps"))
    assert replanned == fresh
    assert replanned["spec"]["predictor"]["maxReplicas"] > stored["spec"]["predictor"]["maxReplicas"]


def test_a_planned_field_that_is_edited_is_the_persons_own_from_then_on() -> None:
    stored, _ = mutated(service())
    edited = copy.deepcopy(stored)
    edited["spec"]["predictor"]["containerConcurrency"] = 3
    kept, _ = mutated(edited, stored)
    assert kept["spec"]["predictor"]["containerConcurrency"] == 3
    assert "/spec/predictor/containerConcurrency" not in planned_entries(kept)
    later = copy.deepcopy(kept)
    later["metadata"]["annotations"]["kserve-ext.dev/slo-p99"] = "80ms"
    assert mutated(later, kept)[0]["spec"]["predictor"]["containerConcurrency"] == 3


def test_a_field_of_the_applied_manifest_is_a_persons_own_though_it_equals_the_plan() -> None:
    stored, _ = mutated(service())
    applied = service()
    applied["spec"]["predictor"]["timeout"] = stored["spec"]["predictor"]["timeout"]
    found = copy.deepcopy(stored)
    found["metadata"]["annotations"][LAST_APPLIED] = json.dumps(applied)
    assert "timeout" in as_written(found)["spec"]["predictor"]
    assert "containerConcurrency" not in as_written(found)["spec"]["predictor"]


def test_what_admission_filled_in_can_be_taken_out_again_to_the_last_field() -> None:
    written = service()
    written["spec"]["predictor"]["model"]["args"] = ["--log-verbose=1"]
    written["spec"]["predictor"]["model"]["runtime"] = "kserve-ext-triton"
    stored, _ = mutated(written)
    assert as_written(stored) == bare(written)


@pytest.mark.parametrize("first", ["ours", "kserve"])
def test_the_order_of_the_webhooks_does_not_matter(first: str) -> None:
    """KServe's defaulter rewrites `triton:` as `model:` and adds empty fields of its Go types."""
    written = service()
    written["spec"]["predictor"]["triton"] = {"storageUri": "pvc://models/m"}
    del written["spec"]["predictor"]["model"]

    def kserve(found: dict[str, Any]) -> dict[str, Any]:
        result = copy.deepcopy(found)
        predictor = result["spec"]["predictor"]
        if "triton" in predictor:
            predictor["model"] = {"modelFormat": {"name": "triton"}, "name": "", **predictor.pop("triton")}
        predictor["model"].setdefault("resources", {})
        return result

    stored = mutated(kserve(written))[0] if first == "kserve" else kserve(mutated(written)[0])
    again, response = mutated(stored)
    assert "patch" not in response or again["spec"] == stored["spec"]
    plain, _ = mutated(written)
    for field in ("containerConcurrency", "minReplicas", "maxReplicas", "timeout", "annotations"):
        assert again["spec"]["predictor"][field] == plain["spec"]["predictor"][field]
    assert again["spec"]["predictor"]["model"]["resources"] == plain["spec"]["predictor"]["model"]["resources"]


@pytest.mark.parametrize("annotations", [{}, {"kserve-ext.dev/lint-ignore": "KX101 wanted"}, {"other.io/x": "1"}])
def test_a_service_without_our_annotations_is_let_through_untouched(annotations: dict[str, str]) -> None:
    written = service()
    written["metadata"]["annotations"] = annotations
    written["spec"]["predictor"]["containerConcurrency"] = -5  # KServe's business
    assert mutated(written)[1] == {"uid": "u", "allowed": True}
    assert asyncio.run(admission().validate(body(written)))["response"] == {"uid": "u", "allowed": True}


def test_a_service_that_is_being_deleted_is_let_through() -> None:
    written = service(slo="nonsense")
    written["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert mutated(written)[1]["allowed"]


def test_what_no_plan_holds_is_refused_with_the_binding_constraint_and_what_would_work() -> None:
    _, response = mutated(service(slo="1ms"))
    assert not response["allowed"]
    assert "digits: p99 of 1ms cannot be held" in response["status"]["message"]
    assert len(response["status"]["message"].splitlines()) > 1


def test_what_no_plan_holds_is_admitted_as_written_where_that_is_asked_for() -> None:
    written = service(slo="1ms", infeasible="admit")
    stored, response = mutated(written)
    assert response["allowed"]
    assert stored == written
    assert response["warnings"][0].startswith("kserve-ext: admitted as written, not planned: digits: p99")


def test_an_annotation_that_cannot_be_read_is_refused_with_what_is_allowed() -> None:
    _, response = mutated(service(slo="fast"))
    assert not response["allowed"]
    assert "kserve-ext.dev/slo-p99" in response["status"]["message"]
    assert "80ms" in response["status"]["message"] or "allowed" in response["status"]["message"]


def test_a_model_without_a_profile_is_admitted_as_written_with_the_way_to_one() -> None:
    _, response = mutated(service(), asked=admission(Models(shared="kserve-ext")))
    assert response["allowed"]
    assert "patch" not in response
    assert any("--to-configmap" in line for line in response["warnings"])


def test_a_dry_run_is_planned_like_any_other() -> None:
    """Nothing is written while a review is answered, so there is nothing to leave out."""
    plain = asyncio.run(admission().mutate(body(service())))
    assert asyncio.run(admission().mutate(body(service(), dry_run=True))) == plain


def test_a_plan_that_takes_too_long_leaves_the_service_as_written() -> None:
    from concurrent.futures import Future

    from kserve_ext.operator.admission import Admission
    from kserve_ext.operator.planner import Planner

    class Slow(Planner):
        def ask(self, *asked: Any) -> Any:
            return Future()

    found = models()
    late = Admission(Slow(0), lambda: found, lambda: None, deadline_s=0.01)
    stored, response = mutated(service(), asked=late)
    assert response["allowed"]
    assert stored == service()
    assert "takes longer than 0.01 s" in response["warnings"][0]


def test_a_fault_of_ours_admits_the_service_as_written() -> None:
    def broken() -> Models:
        raise RuntimeError("out of luck")

    from kserve_ext.operator.admission import Admission
    from kserve_ext.operator.planner import Planner

    stored, response = mutated(service(), asked=Admission(Planner(0), broken, lambda: None))
    assert response["allowed"]
    assert stored == service()
    assert "out of luck" in response["warnings"][0]


def test_a_field_that_would_be_ignored_is_refused_and_says_how_to_keep_it() -> None:
    written = service()
    written["spec"]["predictor"]["autoScaling"] = {"metrics": [{"type": "Resource"}]}
    response = asyncio.run(admission().validate(body(written)))["response"]
    told = json.dumps(response)
    assert "KX" in told


def test_a_device_that_no_node_offers_is_told_from_the_live_nodes() -> None:
    node = NodeFact(name="n", labels={}, allocatable={"cpu": 2.0})
    written = service()
    written["spec"]["predictor"]["model"]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    response = asyncio.run(admission(facts=ClusterFacts(nodes=(node,))).validate(body(written)))["response"]
    assert "nvidia.com/gpu" in json.dumps(response)
    silent = asyncio.run(admission().validate(body(written)))["response"]
    assert "no node" not in json.dumps(silent)


def test_names_do_not_change_a_plan() -> None:
    other = service()
    other["metadata"] |= {"name": "another-name", "namespace": "team"}
    first, second = mutated(service())[0], mutated(other)[0]
    second["metadata"]["name"] = "digits"
    assert json.dumps(second).replace("another-name-triton", "digits-triton") == json.dumps(first)


def test_the_patch_is_what_the_api_server_applies() -> None:
    stored, response = mutated(service())
    assert patched(service(), response) == stored
    assert response["patchType"] == "JSONPatch"


def test_what_was_asked_anew_while_no_webhook_was_there_is_planned_anew_later() -> None:
    stored, _ = mutated(service())
    assert left(stored) is None
    edited = copy.deepcopy(stored)
    edited["metadata"]["annotations"]["kserve-ext.dev/rate"] = "50..3000rps"
    change = left(edited)
    assert change is not None
    fresh, _ = mutated(service(rate="50..3000rps"))
    assert change["spec"]["predictor"]["maxReplicas"] == fresh["spec"]["predictor"]["maxReplicas"]


def test_a_service_that_an_earlier_release_planned_is_left_as_it_is() -> None:
    stored, _ = mutated(service())
    notes = stored["metadata"]["annotations"]
    notes[PLANNED] = notes[PLANNED].rpartition(",")[0]
    notes["kserve-ext.dev/rate"] = "50..3000rps"
    assert left(stored) is None


def left(found: dict[str, Any]) -> dict[str, Any] | None:
    """What the loop has to fill in."""
    manifest = as_written(found)
    wanted = Asked(service=service_of(manifest, "x"), manifest=manifest)
    plan = named(Planner(0).ask(wanted.service, models()).result(), wanted.service.intent)
    return left_to_fill(found, wanted, plan)
