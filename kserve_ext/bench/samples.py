"""The requests a model is loaded with: those kept beside it in the repository, or made from what an endpoint tells."""

from __future__ import annotations

from pathlib import Path

from kserve_ext.bench.exchange import fetch_metadata
from kserve_ext.bench.payload import Sample, generate_samples, load_samples
from kserve_ext.bench.target import Target
from kserve_ext.files import read_text

SAMPLES = "samples.json"


def read_samples(repository: Path, model: str) -> tuple[Sample, ...]:
    """The samples of a model; none where it has no samples.json. Raises InputError with every fault in the file."""
    path = repository / model / SAMPLES
    return load_samples(read_text(path), str(path)) if path.exists() else ()


def made_up_samples(target: Target, seed: int = 0) -> tuple[Sample, ...]:
    """Samples of the shapes that the endpoint says its inputs have.

    Raises InputError where a shape is open or the content cannot be guessed, UnreachableError.
    """
    inputs, _ = fetch_metadata(target)
    return generate_samples(inputs, batched=all(spec.shape[:1] == (-1,) for spec in inputs), seed=seed)
