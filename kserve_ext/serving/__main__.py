"""`python -m kserve_ext.serving predictors.digits:Digits --model_name digits --model_dir …` serves a predictor.

KServe's own arguments mean what they mean there; the plan's numbers come from environment variables (settings.py).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kserve_ext.errors import InputError, KserveExtError, MissingExtraError, Problem
from kserve_ext.serving.predictor import Predictor, find_predictor
from kserve_ext.serving.settings import Settings, describe
from kserve_ext.serving.workers import Worker, supervise, this_command

_FORMAT = "%(asctime)s.%(msecs)03d %(process)s %(name)s %(levelname)s %(message)s"
_DEFAULT_PORT = 8080  # KServe's


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal; the exit code."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(0)
    )  # while starting: process 1 of a container ignores it otherwise
    ours = _parser().parse_known_args(arguments)[0]
    try:
        settings = Settings.read(os.environ)
        predictor, artifacts = find_predictor(ours.predictor), Path(ours.model_dir)
        if not artifacts.is_dir():
            raise InputError(Problem(what="no such folder", field="--model_dir", found=str(artifacts)))
        worker = Worker.here(os.environ)
        if worker is None and ours.workers > 1:
            return supervise(this_command(), ours.workers, ours.http_port)
        _serve(predictor, artifacts, ours, settings, worker)
    except KserveExtError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201 - the command line's own output
        if error.remedy:
            print(f"  {error.remedy}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _serve(
    predictor: type[Predictor], artifacts: Path, ours: argparse.Namespace, settings: Settings, worker: Worker | None
) -> None:
    try:
        from kserve_ext.serving.model import PredictorModel  # reads KServe's arguments from sys.argv
        from kserve_ext.serving.server import Server
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "predictor") from error
    model = PredictorModel(ours.model_name, predictor, artifacts, settings)
    Server(settings, worker=worker).start([model])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kserve_ext.serving",
        description="Serve a custom predictor on KServe's own server.",
        epilog="KServe's arguments are taken too: --grpc_port, --enable_grpc, --ssl_certfile, …\n\n"
        "A client's deadline: gRPC's own, or the header x-request-timeout-ms over HTTP.\n\n"
        "environment variables (the renderer sets them from the plan):\n" + describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("predictor", metavar="module:Class", help="the Predictor, e.g. predictors.digits:Digits")
    parser.add_argument("--model_name", default="model", help="the name on the endpoints (default model)")
    parser.add_argument("--model_dir", default="/mnt/models", help="the model's files (default /mnt/models)")
    parser.add_argument("--http_port", type=int, default=_DEFAULT_PORT, help="default 8080")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with its own copies (default 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
