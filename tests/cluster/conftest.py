"""A cluster that is a small local server, and our connection to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.tiny_api import TinyApi, kubeconfig, serving

from kserve_ext.cluster import Cluster, Where, connect


@pytest.fixture
def api() -> Iterator[TinyApi]:
    with serving(TinyApi()) as running:
        yield running


@pytest.fixture
def cluster(api: TinyApi, tmp_path: Path) -> Cluster:
    return connect(Where(kubeconfig=str(kubeconfig(tmp_path, api.url))), patience_s=0.5)
