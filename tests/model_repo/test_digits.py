"""The digits model: accuracy on images it never saw, and a training that repeats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


def test_digits_are_read_right_on_images_never_trained_on(
    built_models: Path, load: Callable[[Path], ModuleType], session: Callable[[Path], Any]
) -> None:
    training, held_out = load(built_models / "digits" / "train.py").split()
    scores, label = session(built_models / "digits" / "1" / "model.onnx").run(None, {"image": held_out.images})
    assert (label.ravel() == held_out.labels).mean() >= 0.975
    assert np.array_equal(scores.argmax(axis=1), label.ravel())
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert len(training.images) + len(held_out.images) == 1797


def test_training_gives_the_same_bytes_twice(
    built_models: Path, load: Callable[[Path], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = load(built_models / "digits" / "train.py")
    monkeypatch.setattr(train, "NARROW", 32)
    monkeypatch.setattr(train, "WIDE", 64)
    training, held_out = train.split()
    first, second = train.fit(training), train.fit(training)
    assert train.as_onnx(first) == train.as_onnx(second)
    assert train.accuracy(first, held_out) > 0.9


def test_a_training_that_went_wrong_writes_nothing(
    model_repo: Path, load: Callable[[Path], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train = load(model_repo / "digits" / "train.py")
    monkeypatch.setattr(train, "fit", lambda training: train._initial(np.random.default_rng(0)))
    with pytest.raises(SystemExit, match=r"below 0\.975"):
        train.main(tmp_path)
    assert list(tmp_path.iterdir()) == []
