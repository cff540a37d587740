"""An ONNX file opened with onnxruntime on the best provider that is installed, with the threads the plan gives."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from kserve_ext.errors import MissingExtraError

log = logging.getLogger("kserve_ext.serving")

# Quickest first. TensorRT is left out: it builds an engine for every shape at the first request.
PREFERRED_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


def open_onnx(file: Path, *, threads: int) -> Any:
    """The session; the log says which provider it runs on. Raises what onnxruntime raises for the file."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "predictor") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would burn a core
    available = onnxruntime.get_available_providers()
    providers = [provider for provider in PREFERRED_PROVIDERS if provider in available]
    session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    log.info("%s runs on %s", file.name, ", ".join(session.get_providers()))
    return session
