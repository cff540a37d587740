"""config.pbtxt text → Triton's message, and where each field stands, with line and column.

The message comes from protobuf's text format, so what it takes is what Triton takes; unknown fields are passed over
to find all of them. The places come from a scan of the same text. Nothing is raised: a fault is a field of the result.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kserve_ext.lint.finding import Hit, Place
from kserve_ext.render import pbtxt
from kserve_ext.render.tensors import Signature

if TYPE_CHECKING:
    from kserve_ext.render.pbtxt import ModelConfig

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?P<mark>[{}<>\[\]:,;])"""
    r"""|(?P<word>[^\s{}<>\[\]:,;\#"']+)""",
    re.DOTALL,
)
_CLOSES = {"{": "}", "<": ">"}
_POSITION = re.compile(r"^(\d+):(\d+) : ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field as written. `value_start` and `end` are offsets of its value in the text."""

    name: str
    path: str  # e.g. dynamic_batching.preferred_batch_size, input[1].dims
    line: int
    column: int
    value_start: int
    end: int
    children: tuple[Field, ...] = ()

    def walk(self) -> Iterator[Field]:
        """This field and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A field that Triton's message does not have, and the nearest one that it has."""

    written: Field
    message: str
    nearest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a text cannot be read at all."""

    line: int
    column: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """What lies beside a config.pbtxt on disk. Signatures are of ONNX files, with every dimension that they have."""

    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # files by version folder
    complete_siblings: bool = (
        False  # some model of the repository has a version folder: it holds models, not only configs
    )
    signatures: Mapping[str, Signature] = field(default_factory=dict)  # by path relative to the model folder
    unreadable: Mapping[str, str] = field(default_factory=dict)  # ONNX files that cannot be read, and why
    load_s: float | None = None  # longest load measured, from profiles/


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Config:
    """One config.pbtxt, or a configs/NAME.pbtxt that stands for it where `variant` is NAME."""

    file: str
    model: str
    variant: str
    message: ModelConfig  # empty where there is a fault
    fields: tuple[Field, ...]
    unknown: tuple[Unknown, ...]
    fault: Fault | None
    folder: ModelFolder

    @property
    def backend(self) -> str:
        """The backend that runs the model; empty if unknown."""
        return pbtxt.backend(self.message)

    def find(self, path: str) -> Field | None:
        """The first field at `path`, or None where it is not written."""
        return next((found for top in self.fields for found in top.walk() if found.path == path), None)

    def place(self, *paths: str) -> Place:
        """Where the first of `paths` that is written stands; the first line of the file where none is."""
        for path in paths:
            if (found := self.find(path)) is not None:
                return Place(file=self.file, line=found.line, column=found.column, field=path)
        return Place(file=self.file, line=1, column=1, field=paths[0] if paths else "")

    def hit(self, message: str, *paths: str, remedy: str = "") -> Hit:
        """A violation at the first of `paths` that is written."""
        return Hit(place=self.place(*paths), message=message, remedy=remedy)


def read_config(text: str, file: str, *, model: str, variant: str = "", folder: ModelFolder | None = None) -> Config:
    """The config written in `text`; `model` is the name of the folder it is in."""
    from google.protobuf import text_format

    message: Any = pbtxt.parse_config("")
    fault = None
    try:
        text_format.Parse(text, message, allow_unknown_field=True)
    except text_format.ParseError as error:
        found = _POSITION.match(str(error))
        what = _POSITION.sub("", str(error))
        fault = Fault(line=int(found[1]) if found else 1, column=int(found[2]) if found else 1, what=what)
    fields = fields_of(text)
    unknown = tuple(_unknown(fields, message.DESCRIPTOR))
    return Config(
        file=file,
        model=model or message.name,
        variant=variant,
        message=pbtxt.parse_config("") if fault else message,
        fields=fields,
        unknown=unknown,
        fault=fault,
        folder=folder or ModelFolder(),
    )


def fields_of(text: str) -> tuple[Field, ...]:
    """The fields of a text in the order written, as far as they can be read."""
    return tuple(_Scan(text).fields("", ""))


def _unknown(fields: tuple[Field, ...], descriptor: Any) -> Iterator[Unknown]:
    for written in fields:
        known = descriptor.fields_by_name.get(written.name)
        if known is None:
            near = difflib.get_close_matches(written.name, list(descriptor.fields_by_name), n=1)
            yield Unknown(written=written, message=descriptor.name, nearest=near[0] if near else "")
        elif known.message_type is not None:
            yield from _unknown(written.children, known.message_type)


class _Scan:
    """Reads fields from left to right and stops at what is not one; the fault itself is protobuf's to word."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [found for found in _TOKEN.finditer(text) if found.lastgroup != "skip"]
        self.at = 0

    def _is(self, *marks: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at][0] in marks

    def fields(self, above: str, closing: str) -> Iterator[Field]:
        counts: dict[str, int] = {}
        while self.at < len(self.tokens) and not (closing and self._is(closing)):
            name = self.tokens[self.at]
            if name.lastgroup != "word":
                return
            self.at += 1
            if self._is(":"):
                self.at += 1
            path = f"{above}.{name[0]}" if above else name[0]
            if self._is("["):
                self.at += 1
                first = self.at
                written = []
                while self.at < len(self.tokens) and not self._is("]"):
                    if self._is(*_CLOSES):
                        written.append(self._one(name, _numbered(path, name[0], counts)))
                    else:
                        self.at += 1
                    if self._is(","):
                        self.at += 1
                self.at += 1
                if written:
                    yield from written
                else:
                    yield self._made(name, path, first - 1, ())
            elif self.at < len(self.tokens):
                yield self._one(name, _numbered(path, name[0], counts))
            if self._is(",", ";"):
                self.at += 1

    def _one(self, name: re.Match[str], path: str) -> Field:
        """A message or a scalar; neighbouring strings are one value."""
        first = self.at
        children: tuple[Field, ...] = ()
        if self._is(*_CLOSES):
            closing = _CLOSES[self.tokens[self.at][0]]
            self.at += 1
            children = tuple(self.fields(path, closing))
            self.at += 1
        else:
            self.at += 1
            while (
                self.at < len(self.tokens) and self.tokens[first].lastgroup == self.tokens[self.at].lastgroup == "text"
            ):
                self.at += 1
        return self._made(name, path, first, children)

    def _made(self, name: re.Match[str], path: str, first: int, children: tuple[Field, ...]) -> Field:
        last = self.tokens[min(self.at, len(self.tokens)) - 1]
        start = name.start()
        return Field(
            name=name[0],
            path=path,
            line=self.text.count("\n", 0, start) + 1,
            column=start - (self.text.rfind("\n", 0, start) + 1) + 1,
            value_start=self.tokens[first].start() if first < len(self.tokens) else name.end(),
            end=last.end(),
            children=children,
        )


def _numbered(path: str, name: str, counts: dict[str, int]) -> str:
    """The path of a repeated field: the first has none, the second ends in [1]."""
    index = counts.get(name, 0)
    counts[name] = index + 1
    return f"{path}[{index}]" if index else path
