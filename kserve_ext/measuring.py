"""The profile of a hosted model, measured now on this machine with the samples of its repository."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kserve_ext.bench.profiler import Progress, profile_model
from kserve_ext.bench.samples import read_samples
from kserve_ext.domain import Profile
from kserve_ext.hosting import Hosted


def measure_profile(
    host: Hosted,
    *,
    hardware: str,
    instances: Sequence[int] = (),
    progress: Progress = lambda done, total, label: None,
    resume_dir: Path | None = None,
) -> Profile:
    """Measure `host.model`; `instances` as in `profile_model`. With `resume_dir` an interrupted measurement goes on."""
    return profile_model(
        host.server,
        host.control,
        host.repository,
        host.model,
        hardware=hardware,
        samples=read_samples(host.repository, host.model),
        instances=instances,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        progress=progress,
        resume_dir=resume_dir,
    )
