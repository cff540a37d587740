"""The two steps of `embed`: vectors equal to those of the package the weights come from, and the token lengths."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

MINILM = Path(__file__).parents[1] / "data" / "minilm"


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    texts: list[str] = json.loads((MINILM / "sentences.json").read_text(encoding="utf-8"))
    return texts


@pytest.fixture
def tokenizer(built_models: Path, backend: Any, load: Callable[[Path], ModuleType]) -> Callable[..., Any]:
    """Texts of one request to its ids and mask, through the tokenizer model itself."""
    folder = built_models / "embed_tokenizer"
    model = load(folder / "1" / "model.py").TritonPythonModel()
    model.initialize({"model_repository": str(folder), "model_version": "1"})

    def tokens(*texts: str) -> dict[str, NDArray[np.int64]]:
        rows = np.array([[text.encode()] for text in texts], dtype=object)
        (answer,) = model.execute([backend.request("input_ids", "attention_mask", text=rows)])
        assert answer.error is None
        arrays: dict[str, NDArray[np.int64]] = answer.arrays()
        return arrays

    return tokens


def test_sentence_vectors_are_those_of_the_original_package(
    built_models: Path, tokenizer: Callable[..., Any], sentences: list[str], session: Callable[[Path], Any]
) -> None:
    encoder = session(built_models / "embed_encoder" / "1" / "model.onnx")
    vectors = np.concatenate([encoder.run(None, tokenizer(sentence))[0] for sentence in sentences])
    reference = np.load(MINILM / "reference.npz")["embeddings"]
    cosine = (vectors * reference).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)
    worst = int(cosine.argmin())
    assert cosine[worst] >= 0.999, sentences[worst]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_company_in_the_batch_and_padding_do_not_change_a_vector(
    built_models: Path, tokenizer: Callable[..., Any], sentences: list[str], session: Callable[[Path], Any]
) -> None:
    encoder = session(built_models / "embed_encoder" / "1" / "model.onnx")
    short, long = sentences[10], sentences[-2]
    (alone,) = encoder.run(None, tokenizer(short))
    (together,) = encoder.run(None, tokenizer(short, long))
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "length"),
    [(0, 32), (30, 32), (31, 64), (62, 64), (63, 128), (126, 128), (127, 256), (254, 256), (255, 256), (1000, 256)],
)
def test_a_text_is_padded_to_the_next_length_and_cut_at_the_last(
    tokenizer: Callable[..., Any], words: int, length: int
) -> None:
    answer = tokenizer(" ".join(["cat"] * words))
    assert answer["input_ids"].shape == answer["attention_mask"].shape == (1, length)
    used = min(words + 2, 256)  # [CLS] and [SEP] around the words
    assert answer["attention_mask"].tolist() == [[1] * used + [0] * (length - used)]
    assert answer["input_ids"][0, used - 1] == 102  # [SEP] stays when the text is cut
    assert not answer["input_ids"][0, used:].any()


def test_the_rows_of_a_request_share_the_length_of_the_longest(tokenizer: Callable[..., Any]) -> None:
    answer = tokenizer("cat", " ".join(["cat"] * 40), "")
    assert answer["input_ids"].shape == (3, 64)
    assert answer["attention_mask"].sum(axis=1).tolist() == [3, 42, 2]


def test_text_that_is_not_utf8_fails_alone(
    built_models: Path, backend: Any, load: Callable[[Path], ModuleType]
) -> None:
    folder = built_models / "embed_tokenizer"
    model = load(folder / "1" / "model.py").TritonPythonModel()
    model.initialize({"model_repository": str(folder), "model_version": "1"})
    texts = [np.array([[text]], dtype=object) for text in (b"good", b"\xff\xfe", b"also good")]
    answers = model.execute([backend.request("input_ids", "attention_mask", text=text) for text in texts])
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert "not UTF-8" in answers[1].error


def test_a_tokenizer_that_was_not_built_says_how_to_build_it(
    model_repo: Path, backend: Any, load: Callable[[Path], ModuleType], tmp_path: Path
) -> None:
    model = load(model_repo / "embed_tokenizer" / "1" / "model.py").TritonPythonModel()
    with pytest.raises(backend.ModelError, match="make models"):
        model.initialize({"model_repository": str(tmp_path), "model_version": "1"})
