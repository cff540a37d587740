"""A model and its steps on one server of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kserve_ext.domain import StagePlan
from kserve_ext.hosting import hosted

pytestmark = pytest.mark.triton


def test_the_steps_of_an_ensemble_are_served_as_planned_from_the_first_load_on(
    built_models: Path, tmp_path: Path
) -> None:
    stages = [
        StagePlan(model=name, max_batch_size=size, max_queue_delay_s=0.0, instances=1, threads=1)
        for name, size in (("embed_tokenizer", 8), ("embed_encoder", 4))
    ]
    with hosted(built_models, "embed", log_file=tmp_path / "triton.log") as host:
        for _ in range(2):
            host.load_planned(stages)
            configs = [host.control.config(stage.model) for stage in stages]
            assert [config.max_batch_size for config in configs] == [8, 4]
            assert all(config.HasField("dynamic_batching") for config in configs)
            assert host.control.ready("embed")
        host.load_untuned()
        assert not any(host.control.config(stage.model).HasField("dynamic_batching") for stage in stages)


def test_several_models_are_served_side_by_side_as_planned(built_models: Path, tmp_path: Path) -> None:
    stages = [
        StagePlan(model=name, max_batch_size=size, max_queue_delay_s=0.0, instances=1, threads=1)
        for name, size in (("digits", 16), ("embed_tokenizer", 8), ("embed_encoder", 4))
    ]
    with hosted(built_models, "digits", "embed", log_file=tmp_path / "triton.log") as host:
        host.load_planned(stages)
        assert [host.control.config(stage.model).max_batch_size for stage in stages] == [16, 8, 4]
        assert host.control.ready("digits")
        assert host.control.ready("embed")
        assert host.control.config("embed").max_batch_size == 4
        assert host.neighbours == ("embed_tokenizer", "embed_encoder", "embed")
