"""kserve-ext: say how fast a model must answer; get an InferenceService that holds it."""

from __future__ import annotations

__version__ = "0.1.0"
