from __future__ import annotations

from collections.abc import Callable

import pytest

DIGITS = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  annotations:
    kserve-ext.dev/slo-p99: 60ms
    kserve-ext.dev/rate: 20..200rps
spec:
  predictor:
    model:
      modelFormat: {name: triton}
      storageUri: pvc://models/digits
"""


@pytest.fixture(scope="session")
def digits() -> str:
    """A small valid manifest. Lines 6 and 7 carry the annotations, line 9 the predictor, line 10 the model."""
    return DIGITS


@pytest.fixture(scope="session")
def with_annotations() -> Callable[..., str]:
    """The same manifest with these annotation lines instead of its own."""

    def build(*lines: str) -> str:
        head, rest = DIGITS.split("    kserve-ext.dev/slo-p99: 60ms\n    kserve-ext.dev/rate: 20..200rps\n")
        return head + "".join(f"    {line}\n" for line in lines) + rest

    return build
