"""`python -m predictors.router --model_name digits --predictor_host digits-predictor.default` serves the transformer.

KServe sets the host; its other arguments mean what they mean there.
"""

from __future__ import annotations

import argparse
import sys

import kserve
from kserve import logging, model_server

from kserve_ext.client import Balance, RetryPolicy, Rule
from kserve_ext.errors import KserveExtError
from predictors.router.transformer import Router


def main(arguments: list[str]) -> int:
    """Serve until a signal; the exit code."""
    options = _parser().parse_args(arguments)
    logging.configure_logging(options.log_config_file)
    try:
        router = Router(
            options.model_name,
            f"{'grpcs' if options.predictor_use_ssl else 'grpc'}://{options.predictor_host}:{options.predictor_port}",
            timeout_s=options.predictor_request_timeout_seconds,
            balance=Balance(
                rule=options.balance,
                hedge_after_s=None if options.hedge_after_ms is None else options.hedge_after_ms / 1000,
            ),
            retry=RetryPolicy(attempts=1 + options.retries, share=options.retry_share),
        )
    except KserveExtError as error:
        print(f"error: {error.message}\n  {error.remedy}", file=sys.stderr)  # noqa: T201 - the command's own output
        return error.exit_code
    kserve.ModelServer(enable_latency_logging=False).start([router])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(parents=[model_server.parser], conflict_handler="resolve")
    parser.add_argument("--predictor_port", type=int, default=9000, help="gRPC port of the predictor's pods")
    parser.add_argument("--balance", type=Rule, choices=list(Rule), default=Rule.PEAK_EWMA)
    parser.add_argument("--retries", type=int, default=2, help="for one request, where nothing was begun")
    parser.add_argument("--retry_share", type=float, default=0.1, help="retries and hedges per request over time")
    parser.add_argument("--hedge_after_ms", type=float, help="ask a second replica after this long (default never)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
