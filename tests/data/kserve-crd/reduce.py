"""Reduce KServe's CRDs to the schemas that the tests need: `python reduce.py MODULE_FOLDER`, see README.md."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent
PLURALS = ("inferenceservices", "servingruntimes")  # the schema of clusterservingruntimes is that of servingruntimes


def reduce(module: Path, plural: str) -> None:
    """Write the schema of the CRD's one version as compact JSON, gzipped without a time stamp."""
    crd = yaml.safe_load((module / f"config/crd/full/serving.kserve.io_{plural}.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    text = json.dumps(version["schema"]["openAPIV3Schema"], sort_keys=True, separators=(",", ":"))
    (HERE / f"{plural}.json.gz").write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    for plural in PLURALS:
        reduce(Path(sys.argv[1]), plural)
