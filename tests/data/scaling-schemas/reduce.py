"""Reduce published schemas to those that the tests need: `python reduce.py GO_MODULES`, see README.md."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CRDS = {  # plural -> file, version
    "scaledobjects": ("github.com/kedacore/keda/v2@v2.21.0/config/crd/bases/keda.sh_scaledobjects.yaml", "v1alpha1"),
    "verticalpodautoscalers": (
        "k8s.io/autoscaler/vertical-pod-autoscaler@v1.8.1/deploy/vpa-v1-crd-gen.yaml",
        "v1",
    ),
}
KUBERNETES = {  # plural -> OpenAPI document, its component
    "horizontalpodautoscalers": ("autoscaling__v2", "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"),
    "deployments": ("apps__v1", "io.k8s.api.apps.v1.Deployment"),
}
_PREFIX = "#/components/schemas/"


def crd(file: Path, plural: str, version: str) -> Any:
    """The schema of one version of a CRD."""
    found = next(one for one in yaml.safe_load_all(file.read_text()) if one["spec"]["names"]["plural"] == plural)
    return next(one for one in found["spec"]["versions"] if one["name"] == version)["schema"]["openAPIV3Schema"]


def component(file: Path, name: str) -> Any:
    """A component with all that it refers to, and nothing else of the document."""
    known = json.loads(file.read_text())["components"]["schemas"]
    kept: dict[str, Any] = {}
    left = [name]
    while left:
        one = left.pop()
        if one not in kept:
            kept[one] = known[one]
            left += [ref.removeprefix(_PREFIX) for ref in references(known[one])]
    return {"$ref": _PREFIX + name, "components": {"schemas": kept}}


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [ref for inner in node for ref in references(inner)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [ref for inner in node.values() for ref in references(inner)]


def short(node: Any) -> Any:
    """Without descriptions, which are most of the text."""
    if isinstance(node, list):
        return [short(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {key: short(inner) for key, inner in node.items() if not (key == "description" and isinstance(inner, str))}


def write(plural: str, schema: Any) -> None:
    """Compact JSON, gzipped without a time stamp."""
    text = json.dumps(short(schema), sort_keys=True, separators=(",", ":"))
    (HERE / f"{plural}.json.gz").write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    modules = Path(sys.argv[1])
    for plural, (path, version) in CRDS.items():
        write(plural, crd(modules / path, plural, version))
    specs = modules / "k8s.io/kubernetes@v1.34.4/api/openapi-spec/v3"
    for plural, (document, name) in KUBERNETES.items():
        write(plural, component(specs / f"apis__{document}_openapi.json", name))
