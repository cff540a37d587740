"""How KServe runs a service, as its manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kserve_ext.domain import Mode
from kserve_ext.errors import ManifestError, Problem

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"


MODE_NAMES = {
    "Knative": Mode.KNATIVE, "Serverless": Mode.KNATIVE,
    "Standard": Mode.STANDARD, "RawDeployment": Mode.STANDARD,
}  # fmt: skip


def mode_of(manifest: Mapping[str, Any], source: str = "") -> Mode:
    """The deployment mode an InferenceService asks for; Knative where it asks for none. Raises ManifestError."""
    written = (manifest.get("metadata", {}).get("annotations") or {}).get(MODE_ANNOTATION, Mode.KNATIVE.value)
    mode = MODE_NAMES.get(written)
    if mode is None:
        field = f"metadata.annotations[{MODE_ANNOTATION}]"
        allowed = ", ".join(MODE_NAMES)
        raise ManifestError(
            Problem(file=source, field=field, what="not a mode that is planned", found=str(written), allowed=allowed)
        )
    return mode
