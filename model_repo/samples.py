"""Write the example requests of the example models: `python -B model_repo/samples.py [FOLDER]` (default: here).

A `samples.json` is a list of single-row requests in Open Inference Protocol V2 JSON. That of `embed` is written by
hand; the others come from it (its sentences, their tokens), from the held-out digits, and from counting. Needs the
models built. A test keeps the committed files equal to what this writes.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent
COUNT = 32
TOKENS = 32  # one length for every sample of the encoder, so that any of them can share a batch

Request = dict[str, Any]


def main(target: Path) -> None:
    texts = json.loads((REPOSITORY / "embed" / "samples.json").read_text(encoding="utf-8"))
    _write(target / "embed_tokenizer", texts)
    _write(target / "embed_encoder", _encoder([text["inputs"][0]["data"][0] for text in texts]))
    _write(target / "digits", _digits())
    _write(target / "emulated", [_request(x=("FP32", [row + column for column in range(8)])) for row in range(COUNT)])


def _encoder(sentences: list[str]) -> list[Request]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(REPOSITORY / "embed_tokenizer" / "1" / "tokenizer.json"))
    tokenizer.enable_padding(length=TOKENS)
    return [
        _request(input_ids=("INT64", encoding.ids), attention_mask=("INT64", encoding.attention_mask))
        for encoding in tokenizer.encode_batch(sentences)
    ]


def _digits() -> list[Request]:
    _, held_out = runpy.run_path(str(REPOSITORY / "digits" / "train.py"))["split"]()
    return [_request(image=("FP32", [int(pixel) for pixel in image])) for image in held_out.images[:COUNT]]


def _request(**inputs: tuple[str, list[Any]]) -> Request:
    tensors = inputs.items()
    return {
        "inputs": [
            {"name": name, "shape": [1, len(data)], "datatype": datatype, "data": data}
            for name, (datatype, data) in tensors
        ]
    }


def _write(folder: Path, requests: list[Request]) -> None:
    """One request a line."""
    folder.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(request, ensure_ascii=False) for request in requests)
    (folder / "samples.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY)
