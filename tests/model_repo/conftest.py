"""The example models, built once, and a stand-in for the module that Triton gives to its python models."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def session() -> Callable[[Path], Any]:
    """Open an ONNX file with one thread."""
    import onnxruntime

    def session(path: Path) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    return session


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], ModuleType]:
    """Import one file by its path, as a module of its own, leaving no compiled file beside it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(path: Path) -> ModuleType:
        name = f"loaded_{path.parent.parent.name}_{path.stem}"
        specification = importlib.util.spec_from_file_location(name, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        monkeypatch.setitem(sys.modules, name, module)
        specification.loader.exec_module(module)
        return module

    return load


@dataclass(frozen=True)
class Tensor:
    """As much of Triton's tensor as the models use."""

    tensor_name: str
    array: Any

    def name(self) -> str:
        return self.tensor_name

    def as_numpy(self) -> Any:
        return self.array


@dataclass(frozen=True)
class Request:
    tensors: tuple[Tensor, ...]
    outputs: tuple[str, ...]

    def requested_output_names(self) -> list[str]:
        return list(self.outputs)


@dataclass(frozen=True)
class Response:
    output_tensors: tuple[Tensor, ...] | list[Tensor] = ()
    error: str | None = None

    def arrays(self) -> dict[str, Any]:
        return {tensor.tensor_name: tensor.array for tensor in self.output_tensors}


class ModelError(Exception):
    """Triton's TritonModelException."""


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`triton_python_backend_utils` as the models see it: for their own logic only, not for Triton's behaviour."""
    module = ModuleType("triton_python_backend_utils")
    utils = {
        "Tensor": Tensor,
        "InferenceResponse": Response,
        "TritonError": str,
        "TritonModelException": ModelError,
        "get_input_tensor_by_name": lambda request, name: next((t for t in request.tensors if t.name() == name), None),
    }
    vars(module).update(utils)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)
    return SimpleNamespace(request=_request, ModelError=ModelError)


def _request(*outputs: str, **inputs: Any) -> Request:
    return Request(tensors=tuple(Tensor(name, array) for name, array in inputs.items()), outputs=outputs)
