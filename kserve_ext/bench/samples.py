"""The example requests that a model repository keeps beside a model."""

from __future__ import annotations

from pathlib import Path

from kserve_ext.bench.payload import Sample, load_samples
from kserve_ext.files import read_text

SAMPLES = "samples.json"


def read_samples(repository: Path, model: str) -> tuple[Sample, ...]:
    """The samples of a model; none where it has no samples.json. Raises InputError with every fault in the file."""
    path = repository / model / SAMPLES
    return load_samples(read_text(path), str(path)) if path.exists() else ()
