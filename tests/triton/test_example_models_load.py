"""Every example model loads on the shared server from its staged files."""

from __future__ import annotations

import pytest

from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.repository import with_steps
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.triton


@pytest.mark.parametrize("model", ["digits", "embed", "emulated"])
def test_an_example_model_loads_with_its_steps(triton: TritonServer, control: TritonControl, model: str) -> None:
    steps = with_steps(triton.repository, model)
    assert steps[-1] == model
    try:
        control.load(model)
        assert all(control.ready(step) for step in steps)
        assert control.metadata(model).is_ensemble == (len(steps) > 1)
    finally:
        for step in reversed(steps):
            control.unload(step)
