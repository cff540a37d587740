"""Which sources are taken along with a predictor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kserve_ext.errors import ModelError
from kserve_ext.packaging.closure import sources

FILES = {
    "shop/__init__.py": "",
    "shop/main.py": "import json, numpy\nfrom shop.parts import wheel\nfrom . import near\ndef later():\n    import shop.lazy\n",
    "shop/parts/__init__.py": "from .wheel import round_one\n",
    "shop/parts/wheel.py": "from ..near import x\nround_one = 1\n",
    "shop/near.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop import typed\nx = 1\n",
    "shop/lazy.py": "",
    "shop/typed.py": "",
    "shop/unused.py": "",
    "loose/inner/main.py": "from loose.inner.other import y\n",
    "loose/inner/other.py": "y = 1\n",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shop", "loose")]:
        monkeypatch.delitem(sys.modules, name)


def test_what_is_imported_of_the_same_package_is_taken_lazily_imported_modules_too() -> None:
    assert set(sources(["shop.main"], {"shop"})) == {
        "shop/__init__.py", "shop/main.py", "shop/parts/__init__.py", "shop/parts/wheel.py", "shop/near.py",
        "shop/lazy.py",
    }  # fmt: skip


def test_a_folder_without_init_is_a_package_too() -> None:
    assert set(sources(["loose.inner.main"], {"loose"})) == {"loose/inner/main.py", "loose/inner/other.py"}


@pytest.mark.parametrize("name", ["shop.missing", "zlib", "nowhere"])
def test_a_module_without_a_source_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=name):
        sources([name], {name.partition(".")[0]})


def test_what_a_predictor_stands_on_in_kserve_ext_needs_numpy_only(tmp_path: Path) -> None:
    roots = ("kserve_ext.serving.instances", "kserve_ext.serving.predictor")
    for path, file in sources(roots, {"kserve_ext"}).items():
        (tmp_path / "alone" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "alone" / path).write_bytes(file.read_bytes())
    program = (
        "import sys; sys.path[:0] = ['alone']; import kserve_ext.serving.instances, kserve_ext.serving.predictor; "
        "assert '/alone/' in kserve_ext.serving.instances.__file__, kserve_ext.serving.instances.__file__; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )  # editable installs and .pth files bring names of their own
    brought = {name for name in done.stdout.split() if not name.startswith(("_", "sitecustomize"))}
    assert {"kserve_ext", "numpy"} <= brought
    assert not {"kserve", "yaml", "pydantic", "typer", "tritonclient", "google"} & brought
