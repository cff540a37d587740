"""The example predictors, imported from the project's folder as a server finds them, and their files."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def predictors_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture(scope="session")
def embed_files(built_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `embed` needs, in one folder."""
    folder = tmp_path_factory.mktemp("embed")
    for model, file in (("embed_tokenizer", "tokenizer.json"), ("embed_encoder", "model.onnx")):
        (folder / file).symlink_to(built_models / model / "1" / file)
    return folder
