"""Files for the linter: found below folders, read, and written back where they were mended.

A folder gives its *.yaml and *.yml that hold an object the linter knows, and the models of its model repositories.
Hidden folders are passed over. A file that is named is read whatever it holds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kserve_ext.errors import InputError, KserveExtError, MissingExtraError, ModelError, Problem
from kserve_ext.files import read_text, write_bytes
from kserve_ext.lint import ClusterFacts, ConfigText, ModelFolder, Sources, cluster_facts
from kserve_ext.lint.manifest import read_objects
from kserve_ext.lint.project import KINDS
from kserve_ext.onnx_file import inspect_onnx
from kserve_ext.render.tensors import Signature

STDIN = "-"
_CONFIG = "config.pbtxt"
_LARGEST_ONNX_BYTES = 2**30  # beyond, reading the weights takes longer than all the rest
# A Helm chart's own words; {{.Name}} and the like are KServe's, in runtimes.
_TEMPLATE = re.compile(
    r"\{\{-?\s*(\$?\.(Values|Release|Chart)|if|else|end|range|with|include|define|template|toYaml)\b"
)
_ALLOWED = "manifests (*.yaml, *.yml), config.pbtxt, or folders with them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read, and what was passed over that a reader may miss."""

    sources: Sources
    notes: tuple[str, ...] = ()


def read_sources(paths: Sequence[str], *, stdin: str = "") -> Found:
    """The texts of the files and folders named. Raises InputError for one that is not there or cannot be read."""
    missing = [path for path in paths if path != STDIN and not Path(path).exists()]
    if missing:
        raise InputError(*(Problem(file=path, what="not found", allowed=_ALLOWED) for path in missing))
    manifests: dict[str, str] = {}
    configs: dict[str, ConfigText] = {}
    notes: list[str] = []
    known: dict[Path, bool] = {}
    for path in paths:
        if path == STDIN:
            manifests["<stdin>"] = stdin
        for file in () if path == STDIN else _files(Path(path)):
            if file.suffix == ".pbtxt":
                configs[file.as_posix()] = _config(file, notes, known)
            elif _is_known(text := read_text(file)) or file == Path(path):
                if file != Path(path) and _TEMPLATE.search(text):
                    notes.append(f"{file.as_posix()} is a template: lint what it renders to")
                else:
                    manifests[file.as_posix()] = text
    return Found(sources=Sources(manifests=manifests, configs=configs), notes=tuple(dict.fromkeys(notes)))


def read_facts(path: Path) -> ClusterFacts:
    """The facts in a file that `kubectl get … -o yaml` wrote. Raises InputError."""
    return facts_of(read_text(path), str(path))


def facts_of(text: str, file: str) -> ClusterFacts:
    """The facts in a text of Kubernetes objects; `file` is its name in errors. Raises InputError."""
    objects = read_objects(text, file)
    if not objects:
        allowed = "Kubernetes objects as `kubectl get nodes,resourcequotas,configmaps,… -A -o yaml` prints them"
        raise InputError(Problem(file=file, what="no Kubernetes object in it", allowed=allowed))
    return cluster_facts(objects)


def write_changed(before: Sources, after: Sources) -> Sequence[str]:
    """Write every text that differs, each in one step, with the line ends that the file has; the files written."""
    texts = [*_changed(before.manifests, after.manifests)]
    texts += _changed({file: one.text for file, one in before.configs.items()},
                      {file: one.text for file, one in after.configs.items()})  # fmt: skip
    for file, text in texts:
        path = Path(file).resolve()  # through a link, so that it stays one
        try:
            content = path.read_bytes()
        except OSError as error:
            raise KserveExtError(f"{file}: cannot be read again: {error.strerror}") from error
        write_bytes(path, (text.replace("\n", "\r\n") if b"\r\n" in content else text).encode())
    return [file for file, _ in texts]


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(file, text) for file, text in after.items() if before[file] != text]


def _files(path: Path) -> Iterator[Path]:
    """A file itself; of a folder every file that may be of interest, in the order of their names."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder)
        for name in sorted(names):
            is_config = name == _CONFIG or (
                here.name == "configs" and name.endswith(".pbtxt") and (here.parent / _CONFIG).is_file()
            )
            if is_config or name.endswith((".yaml", ".yml")):
                yield here / name


def _is_known(text: str) -> bool:
    return any(kind in text for kind in KINDS)


def _config(file: Path, notes: list[str], known: dict[Path, bool]) -> ConfigText:
    """A config with what lies beside it."""
    variant = file.stem if file.name != _CONFIG and file.parent.name == "configs" else ""
    folder = (file.parent.parent if variant else file.parent).absolute()
    return ConfigText(text=read_text(file), model=folder.name, variant=variant, folder=_folder(folder, notes, known))


def _folder(folder: Path, notes: list[str], known: dict[Path, bool]) -> ModelFolder:
    versions = {version.name: _names(version) for version in _versions(folder)}
    signatures: dict[str, Signature] = {}
    unreadable: dict[str, str] = {}
    for version, names in versions.items():
        for name in names:
            path = folder / version / name
            if name.endswith(".onnx") and path.stat().st_size <= _LARGEST_ONNX_BYTES:
                try:
                    found = inspect_onnx(path)
                    signatures[f"{version}/{name}"] = Signature(
                        inputs=found.inputs, outputs=found.outputs, batchable=found.batchable
                    )
                except ModelError as error:
                    unreadable[f"{version}/{name}"] = "; ".join(problem.what for problem in error.problems)
                except MissingExtraError as error:
                    notes.append(f"ONNX files are not compared with their configs: {error.message} ({error.remedy})")
    return ModelFolder(
        versions=versions,
        complete_siblings=_holds_models(folder.parent, known),
        signatures=signatures,
        unreadable=unreadable,
        load_s=_load_s(folder),
    )


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".")))


def _versions(folder: Path) -> list[Path]:
    return sorted(
        entry for entry in folder.iterdir() if entry.is_dir() and entry.name.isdecimal() and entry.name != "0"
    )


def _holds_models(repository: Path, known: dict[Path, bool]) -> bool:
    """Whether some model of the repository has a version folder; else it holds configs only, as a bundle does."""
    if repository not in known:
        known[repository] = any(_versions(config.parent) for config in repository.glob(f"*/{_CONFIG}"))
    return known[repository]


def _load_s(folder: Path) -> float | None:
    """The longest load time in the model's profiles. A file that is no profile tells none."""
    found: list[float] = []
    for path in sorted((folder / "profiles").glob("*.json")):
        try:
            content = json.loads(read_text(path))
        except (json.JSONDecodeError, InputError):
            continue
        load_s = content.get("load_s") if isinstance(content, dict) else None
        if isinstance(load_s, int | float):
            found.append(float(load_s))
    return max(found, default=None)
