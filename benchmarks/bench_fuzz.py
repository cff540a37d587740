"""Both request decoders against a million inputs each: whatever the bytes, an answer or a refusal, and no growing memory.

Inputs are valid requests that were changed (bytes flipped, cut, joined; fields of the JSON swapped for odd values), from a
fixed seed; a failure prints its input. A decoder may raise BadRequest, TooLarge and Unsupported, and nothing else.

    python -m benchmarks.bench_fuzz [--inputs 1000000]
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Iterator
from time import perf_counter

from benchmarks.figures import Figure, publish
from benchmarks.serving.mutations import grpc_bodies, rest_bodies
from kserve_ext.serving.codec import decode_v2
from kserve_ext.serving.codec_v1 import decode_v1
from kserve_ext.serving.faults import Fault

INPUTS = 1_000_000
_SETTLED = 0.2  # of the inputs: memory is compared from there on
_WORST_S = 1.0  # a single input that takes longer is a fault too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="for each decoder")
    count = parser.parse_args().inputs
    figures: list[Figure] = []
    decoders: dict[str, tuple[Callable[[int], Iterator[bytes]], Callable[[bytes], object]]] = {
        "rest": (rest_bodies, _rest),
        "grpc": (grpc_bodies, _grpc()),
    }
    for name, (bodies, decode) in decoders.items():
        figures += _fuzz(name, bodies(count), decode, count)
    publish("fuzz", figures)
    if any(figure.name.endswith("_failures") and figure.value for figure in figures):
        raise SystemExit(1)


def _rest(body: bytes) -> object:
    """As a request with the binary extension, as plain JSON, and as V1: the header's length is taken from the body."""
    from kserve_ext.serving.codec import load_json

    head_bytes = int.from_bytes(body[:2], "little") if len(body) > 2 else None
    rest = body[2:]
    if head_bytes is not None and head_bytes & 1:
        return decode_v2(rest, head_bytes >> 1)
    try:
        return decode_v2(rest, None)
    except Fault:
        return decode_v1(load_json(rest), None)


def _grpc() -> Callable[[bytes], object]:
    """Through the reader of messages and protobuf's own parser to arrays."""
    from google.protobuf.message import DecodeError
    from tritonclient.grpc import service_pb2 as pb

    from kserve_ext.serving.codec_grpc import decode_inputs
    from kserve_ext.serving.faults import BadRequest
    from kserve_ext.serving.grpc_wire import MessageReader

    def decode(body: bytes) -> object:
        reader = MessageReader(2**16, ("identity", "gzip", "deflate")[len(body) % 3])
        found = []
        for message in [one for part in (body[:7], body[7:]) for one in reader.feed(part)]:
            try:
                found.append(decode_inputs(pb.ModelInferRequest.FromString(message)))
            except DecodeError as error:
                raise BadRequest(str(error)) from None
        return found

    return decode


def _fuzz(name: str, bodies: Iterator[bytes], decode: Callable[[bytes], object], count: int) -> list[Figure]:
    taken = refused = failures = 0
    worst_s, settled_kib = 0.0, 0
    start_s = before_s = perf_counter()
    for place, body in enumerate(bodies):
        try:
            decode(body)
            taken += 1
        except Fault:
            refused += 1
        except Exception as error:  # noqa: BLE001 - what is looked for
            failures += 1
            print(f"{name}: {type(error).__name__}: {error}\n  {body!r}", flush=True)
        now_s = perf_counter()
        worst_s, before_s = max(worst_s, now_s - before_s), now_s
        if place == int(_SETTLED * count):
            settled_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if place % 100_000 == 99_999:
            print(f"{name}: {place + 1} inputs, {taken} taken, {refused} refused, {failures} failures", flush=True)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - settled_kib) / 1024
    return [
        Figure(name=f"{name}_inputs", value=float(taken + refused + failures), unit="inputs"),
        Figure(name=f"{name}_taken", value=float(taken), unit="inputs", baseline="the rest is refused with a 400"),
        Figure(name=f"{name}_failures", value=float(failures), unit="inputs", baseline="none allowed"),
        Figure(name=f"{name}_memory_growth_mib", value=grown_mib, unit="MiB", baseline="after a fifth of the inputs"),
        Figure(
            name=f"{name}_worst_ms", value=worst_s * 1e3, unit="ms", baseline="the slowest input, making it included"
        ),
        Figure(name=f"{name}_inputs_per_s", value=count / (perf_counter() - start_s), unit="1/s"),
    ]


if __name__ == "__main__":
    main()
