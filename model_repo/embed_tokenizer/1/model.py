"""Text in, token ids and mask out, for Triton's python backend.

A request's rows are padded to the smallest of `LENGTHS` that holds the longest of them, so that requests of similar
length have equal shapes: the batcher of the encoder merges only those. Longer texts are cut at 256 tokens, as the
original model does. A request with text that is not UTF-8 fails alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one instance, one thread: instances are counted, threads are not

LENGTHS = (32, 64, 128, 256)

Ids = NDArray[np.int64]


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        from tokenizers import Tokenizer

        path = Path(args["model_repository"], args["model_version"], "tokenizer.json")
        if not path.exists():
            raise pb_utils.TritonModelException(f"{path} is missing: run `make models`")
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(LENGTHS[-1])

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        rows = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
        try:
            texts = [row.decode() for row in rows.ravel()]
        except UnicodeDecodeError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"text: not UTF-8: {error}"))
        encodings = self.tokenizer.encode_batch_fast(texts)
        ids, mask = padded([encoding.ids for encoding in encodings])
        tensors = [pb_utils.Tensor("input_ids", ids), pb_utils.Tensor("attention_mask", mask)]
        return pb_utils.InferenceResponse(tensors)


def padded(rows: list[list[int]]) -> tuple[Ids, Ids]:
    """Token ids and mask [rows, length]: the shortest of `LENGTHS` that holds every row, zeros behind the tokens."""
    longest = max(map(len, rows))
    shape = len(rows), next(length for length in LENGTHS if length >= longest)
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask
