"""Files on disk: read with errors that name the file, written whole or not at all.

A write goes to a temporary file in the same folder and is renamed over the old one, so a full disk, Ctrl-C or a
crash leaves the old file intact. `exclusive` keeps two runs out of the same folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kserve_ext.errors import BusyError, InputError, KserveExtError, Problem


def read_text(path: Path) -> str:
    """The text of a file, or of standard input for `-` is the caller's business. Raises InputError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise InputError(Problem(file=str(path), what="not a text file", found=found, allowed="UTF-8 text")) from error
    except OSError as error:
        raise InputError(Problem(file=str(path), what=f"cannot be read: {error.strerror}")) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step, making its folder. Raises KserveExtError, and then `path` is as before."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step, making its folder. Raises KserveExtError, and then `path` is as before."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        raise KserveExtError(f"{path}: cannot be written: {error.strerror}; the old file is intact") from error


def copy(source: Path, path: Path) -> None:
    """Copy a file or a folder to `path`, replacing what is there in one step. Raises KserveExtError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
            copied = Path(temporary) / path.name
            if source.is_dir():
                shutil.copytree(source, copied)
                if path.is_dir():
                    path.rename(Path(temporary) / "replaced")
            else:
                shutil.copyfile(source, copied)
            copied.rename(path)
    except OSError as error:
        raise KserveExtError(f"{source}: cannot be copied to {path}: {error.strerror or error}") from error


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if missing, for this process. Raises BusyError when another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise KserveExtError(f"{folder}: cannot be written: {error.strerror}") from error
    with lock as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"another run is writing to {folder}", remedy="wait for it, or give another folder with --out"
            ) from error
        yield
