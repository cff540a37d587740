"""`embed` as one class: the vectors of the original package, whatever stands beside a text in its batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_ext.errors import ModelError
from kserve_ext.serving.execution import Rules, execute
from kserve_ext.serving.faults import BadRequest
from kserve_ext.serving.predictor import find_predictor

MINILM = Path(__file__).parents[1] / "data" / "minilm"


@pytest.fixture
def embed(embed_files: Path) -> Any:
    predictor = find_predictor("predictors.embed:Embed")()
    predictor.load(embed_files)
    return predictor


def rows(*texts: str | bytes) -> dict[str, Any]:
    encoded = [[text.encode() if isinstance(text, str) else text] for text in texts]
    return {"text": np.array(encoded, np.object_)}


def test_its_vectors_are_those_of_the_package_the_weights_come_from(embed: Any) -> None:
    sentences = json.loads((MINILM / "sentences.json").read_text(encoding="utf-8"))
    reference = np.load(MINILM / "reference.npz")["embeddings"]
    vectors = embed.predict(rows(*sentences))["embedding"]  # one batch of all lengths
    cosine = (vectors * reference).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)
    assert cosine.min() >= 0.999, sentences[int(cosine.argmin())]


def test_a_long_text_does_not_pad_its_neighbours(embed: Any) -> None:
    seen = []
    encode = embed._encode
    embed._encode = lambda tokens, length: seen.append((len(tokens), length)) or encode(tokens, length)
    embed.predict(rows("cat", " ".join(["cat"] * 100), "dog"))
    assert seen == [(2, 32), (1, 128)]


def test_text_that_is_not_utf8_is_refused_and_its_neighbours_are_answered(embed: Any) -> None:
    good, bad = rows("a cat"), rows(b"\xff\xfe")
    outcomes, _ = execute(embed.predict, [good, bad, good], Rules(max_batch_size=8))
    assert isinstance(outcomes[1], BadRequest)
    assert "not UTF-8" in outcomes[1].message
    assert not isinstance(outcomes[0], BadRequest)
    assert not isinstance(outcomes[2], BadRequest)


def test_v1_takes_a_list_of_texts_and_says_so(embed: Any) -> None:
    assert embed.decode({"instances": ["a", "b"]})["text"].tolist() == [[b"a"], [b"b"]]
    for wrong in ({}, {"instances": []}, {"instances": [1]}, {"instances": "a"}, []):
        with pytest.raises(BadRequest, match="list of texts"):
            embed.decode(wrong)


def test_it_is_warmed_up_at_every_length(embed: Any) -> None:
    seen = set()
    encode = embed._encode
    embed._encode = lambda tokens, length: seen.add(length) or encode(tokens, length)
    embed.predict(embed.warmup(8, embed.signature(Path())))
    assert seen == {32, 64, 128, 256}


@pytest.mark.parametrize("files", [[], ["a.onnx", "b.onnx"]])
def test_a_folder_without_its_files_is_explained(tmp_path: Path, embed_files: Path, files: list[str]) -> None:
    (tmp_path / "tokenizer.json").symlink_to(embed_files / "tokenizer.json")
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=r"not one file of its kind.*allowed: one \*\.onnx"):
        find_predictor("predictors.embed:Embed")().load(tmp_path)
