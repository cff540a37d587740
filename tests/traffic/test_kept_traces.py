"""The traces kept for benchmarks and tests: unchanged, with their source and licence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kserve_ext.traffic import read_traces

DATA = Path(__file__).parents[2] / "benchmarks" / "data"
ROWS = {
    cells[0].strip("` "): cells
    for line in (DATA / "README.md").read_text().splitlines()
    if len(cells := line.split("|")[1:-1]) == 6 and "sha256" not in line and "---" not in line
}
KEPT = {"autothrottle_1h.csv": (4, 3600, 1), "azure_functions_2019_days_1_7.csv": (4, 10_080, 60)}


@pytest.mark.parametrize("name", KEPT)
def test_a_trace_is_the_file_that_the_readme_names(name: str) -> None:
    _, _, _, source, licence, digest = ROWS[name]
    assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest.strip("` ")
    assert source.strip()
    assert "MIT" in licence or "CC-BY 4.0" in licence


@pytest.mark.parametrize("name", KEPT)
def test_a_trace_has_its_services_rows_and_step(name: str) -> None:
    traces = read_traces((DATA / name).read_text(), name)
    assert {(len(trace.counts), trace.step_s) for trace in traces} == {KEPT[name][1:]}
    assert len(traces) == KEPT[name][0]
