"""What we render and what we ship has no findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from kserve_ext.lint import check
from kserve_ext.linting import read_sources

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path for path in (ROOT / "tests" / "golden" / "render").iterdir() if path.is_dir())


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_a_rendered_bundle_is_clean(bundle: Path) -> None:
    outcome = check(read_sources([str(bundle)]).sources)
    assert outcome.checked >= 3
    assert (outcome.findings, outcome.problems) == ((), ())


def test_the_manifests_and_models_that_we_ship_are_clean(built_models: Path) -> None:
    outcome = check(read_sources([str(ROOT / "manifests"), str(built_models)]).sources)
    assert outcome.checked >= 10
    assert (outcome.findings, outcome.problems) == ((), ())
