"""Text in, sentence vectors out: a tokenizer and the MiniLM encoder in one predictor.

The answers are those of the ensemble `embed` on Triton: texts are cut and padded by the same rule. Rows of a batch
run in groups of one padded length, so a long text does not make its neighbours long.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kserve_ext.errors import ModelError, Problem
from kserve_ext.render.tensors import Signature, TensorShape
from kserve_ext.serving.faults import BadRequest
from kserve_ext.serving.onnx_session import open_onnx
from kserve_ext.serving.predictor import Predictor

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one instance, one thread: instances are counted, threads are not

LENGTHS = (32, 64, 128, 256)  # tokens; longer texts are cut, as the original model does
WIDTH = 384

Array = NDArray[Any]


class Embed(Predictor):
    """`tokenizer.json` and one .onnx file, in the artifacts or in folders below them."""

    def load(self, artifacts: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(only_file(artifacts, "tokenizer.json")))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LENGTHS[-1])
        self._session = open_onnx(only_file(artifacts, "*.onnx"), threads=self.threads)

    def predict(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts(batch["text"]))]
        vectors = np.empty((len(tokens), WIDTH), np.float32)
        for length, rows in by_length(tokens).items():
            vectors[rows] = self._encode([tokens[row] for row in rows], length)
        return {"embedding": vectors}

    def signature(self, artifacts: Path) -> Signature:
        return Signature(
            inputs=(TensorShape(name="text", datatype="TYPE_STRING", dims=(1,)),),
            outputs=(TensorShape(name="embedding", datatype="TYPE_FP32", dims=(WIDTH,)),),
            batchable=True,
        )

    def warmup(self, rows: int, signature: Signature | None) -> dict[str, Array]:
        """Texts of each length in turn: memory and kernels are chosen by shape."""
        lengths = [LENGTHS[row % len(LENGTHS)] for row in range(rows)]
        return {"text": np.array([[b"a " * (length - 2)] for length in lengths], np.object_)}

    def decode(self, payload: Any) -> dict[str, Array]:
        """V1: `{"instances": ["a text", …]}`."""
        rows = payload.get("instances") if isinstance(payload, dict) else None
        if not isinstance(rows, list) or not rows or not all(isinstance(row, str) for row in rows):
            raise BadRequest("`instances` must be a list of texts")
        return {"text": np.array([[row.encode()] for row in rows], np.object_)}

    def _encode(self, tokens: Sequence[Sequence[int]], length: int) -> Array:
        ids, mask = (np.zeros((len(tokens), length), np.int64) for _ in range(2))
        for index, row in enumerate(tokens):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        (vectors,) = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
        found: Array = vectors
        return found


def texts(rows: Array) -> list[str]:
    """The texts of a BYTES tensor [n, 1] or [n]. Raises BadRequest."""
    try:
        return [row.decode() if isinstance(row, bytes) else str(row) for row in rows.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise BadRequest(f"text: not UTF-8: {error}") from error


def by_length(tokens: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """Row numbers by the length they are padded to: the shortest of LENGTHS that holds the row."""
    rows: dict[int, list[int]] = {}
    for index, row in enumerate(tokens):
        rows.setdefault(next(length for length in LENGTHS if length >= len(row)), []).append(index)
    return rows


def only_file(artifacts: Path, pattern: str) -> Path:
    """The only file of this name, in the folder or below it. Raises ModelError."""
    found = sorted(artifacts.glob(pattern)) or sorted(artifacts.rglob(pattern))
    if len(found) == 1:
        return found[0]
    there = ", ".join(str(file.relative_to(artifacts)) for file in found) or "none"
    raise ModelError(
        Problem(file=str(artifacts), what="not one file of its kind", found=there, allowed=f"one {pattern}")
    )
