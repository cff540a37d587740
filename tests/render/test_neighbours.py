"""A bundle of a service whose replicas hold several models: a config for each, one InferenceService."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from kserve_ext.domain import NeighbourPlan, Slo, StagePlan
from kserve_ext.errors import ModelError
from kserve_ext.render.bundle import render
from kserve_ext.render.pbtxt import parse_config


@pytest.fixture
def shared(digits: Any, embed: Any) -> Any:
    """`digits` with the ensemble `embed` beside it."""
    neighbour = NeighbourPlan(
        model="embed", slo=Slo(p99_s=0.2), stages=embed.plan.stages, capacity_rps=60.0, prediction=embed.plan.prediction
    )
    plan = replace(digits.plan, neighbours=(neighbour,))
    return replace(digits, service=digits.service, plan=plan, configs={**digits.configs, **embed.configs})


def test_every_model_has_its_planned_config(shared: Any, digits: Any, embed: Any) -> None:
    files = render(shared.service, shared.plan, shared.configs).files
    alone = {
        **render(embed.service, embed.plan, embed.configs).files,
        **render(digits.service, digits.plan, digits.configs).files,
    }
    configs = [path for path in files if path.endswith("/config.pbtxt")]
    assert sorted(path.split("/")[1] for path in configs) == ["digits", "embed", "embed-encoder", "embed-tokenizer"]
    assert all(files[path] == alone[path] for path in configs)


def test_the_plan_that_is_kept_names_the_neighbours(shared: Any) -> None:
    kept = yaml.safe_load(render(shared.service, shared.plan, shared.configs).files["plan.yaml"])
    (neighbour,) = yaml.safe_load(kept["data"]["plan.yaml"])["neighbours"]
    assert (neighbour["model"], neighbour["slo"]["p99_s"]) == ("embed", 0.2)


def test_threads_are_those_of_the_model_that_has_most(shared: Any) -> None:
    runtime = yaml.safe_load(render(shared.service, shared.plan, shared.configs).files["servingruntime.yaml"])
    (container,) = runtime["spec"]["containers"]
    threads = next(each["value"] for each in container["env"] if each["name"] == "OMP_NUM_THREADS")
    assert int(threads) == max(each.threads for each in shared.plan.all_stages)


def test_a_neighbour_without_a_config_is_named(shared: Any) -> None:
    configs = {name: text for name, text in shared.configs.items() if name != "embed-encoder"}
    with pytest.raises(ModelError, match=r"embed-encoder/config\.pbtxt: missing"):
        render(shared.service, shared.plan, configs)


def test_a_batch_size_of_a_neighbour_is_in_its_own_config(shared: Any) -> None:
    (neighbour,) = shared.plan.neighbours
    changed = replace(
        neighbour,
        stages=(
            neighbour.stages[0],
            StagePlan(model="embed-encoder", max_batch_size=4, max_queue_delay_s=0.0, instances=3, threads=1),
        ),
    )
    files = render(shared.service, replace(shared.plan, neighbours=(changed,)), shared.configs).files
    config = parse_config(files["model_repo/embed-encoder/config.pbtxt"])
    assert (config.max_batch_size, config.instance_group[0].count) == (4, 3)
