"""A namespace as manifests/models makes it for the tests of one file, and examples served in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from e2e import examples, product
from e2e.support import Cluster
from kserve_ext.client import Client

__all__ = ["check_digits", "models", "serve", "written_down"]


@pytest.fixture(scope="module")
def models(cluster: Cluster) -> Iterator[str]:
    """A namespace as manifests/models makes it: restricted, default-deny, policies enforced."""
    with examples.models_namespace(cluster, "models") as name:
        yield name


@pytest.fixture(autouse=True)
def written_down(request: pytest.FixtureRequest, models: str) -> None:
    request.node.user_properties.append(("namespace", models))


@pytest.fixture
def serve(cluster: Cluster, models: str) -> Iterator[Callable[..., str]]:
    """Apply an example and wait until it is ready; it goes when the test ends."""
    made: list[str] = []

    def serve(path: str, edit: Callable[[dict[str, Any]], object] = lambda _: None) -> str:
        manifest = examples.read(path)
        edit(manifest)
        made.append(manifest["metadata"]["name"])
        cluster.apply(manifest, models)
        cluster.wait_ready("isvc", made[-1], models, seconds=240)
        return made[-1]

    yield serve
    for name in made:
        cluster.kubectl("-n", models, "delete", "isvc", name, "--wait=false", "--ignore-not-found")


def check_digits(address: str, model: str = "digits", authority: str | None = None) -> None:
    pictures, _ = product.images(6)
    with Client(address, authority=authority) as client:
        answers = client.infer(model, {"image": pictures}, timeout_s=60)
    np.testing.assert_allclose(answers["scores"], product.answers_here(pictures)["scores"], atol=1e-5)
