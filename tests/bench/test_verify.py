"""The generator against a real Triton, over both protocols."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kserve_ext.bench.arrivals import constant
from kserve_ext.bench.codec import encode
from kserve_ext.bench.exchange import fetch_metadata
from kserve_ext.bench.loop import run_open_loop
from kserve_ext.bench.measure import Outcome
from kserve_ext.bench.payload import Sample, TensorSpec
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.bench.tensor import Array, Tensor, from_items
from kserve_ext.bench.verify import ask, check_answers, verify
from kserve_ext.domain import Protocol, Slo
from kserve_ext.errors import ModelError, UnreachableError
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module", autouse=True)
def loaded(small_server: TritonServer) -> None:
    """The models of this module; they stay, because unloading one takes a second."""
    for name in ("echo", "root", "words", "wide"):
        TritonControl.of(small_server).load(name)


PROTOCOLS = pytest.mark.parametrize("protocol", list(Protocol))


def _target(server: TritonServer, model: str, protocol: Protocol) -> Target:
    url = server.http_url if protocol is Protocol.REST else server.grpc_url
    return parse_target(url, model=model, protocol=protocol)


def _samples(rows: Sequence[Sequence[float]]) -> list[Sample]:
    return [_sample(np.array([row], np.float32)) for row in rows]


def _sample(data: Array, datatype: str = "FP32") -> Sample:
    return Sample(inputs=(Tensor(name="x", datatype=datatype, data=data),))


@PROTOCOLS
def test_a_fast_model_holds_a_generous_slo(
    small_server: TritonServer, small_control: TritonControl, protocol: Protocol
) -> None:

    def counters() -> tuple[int, int]:
        statistics = small_control.statistics("echo")
        return statistics.inference_count, statistics.execution_count

    verdict = verify(
        _target(small_server, "echo", protocol),
        _samples([[1, 2], [3, 4]]),
        slo=Slo(p99_s=20.0),
        rate_rps=400,
        duration_s=1.5,
        warmup_s=0.2,
        counters=counters,
        outputs=["y"],
    )
    assert verdict.outcome is Outcome.HELD, verdict.reasons
    assert verdict.attainment == 1.0
    assert verdict.measurement.sent == verdict.measurement.succeeded >= 500
    assert verdict.measurement.mean_batch == 1.0  # no dynamic batching in its config
    assert 0 < verdict.measurement.p50_s <= verdict.measurement.p95_s <= verdict.measurement.p99_s


@PROTOCOLS
def test_an_slo_below_any_answer_is_missed(small_server: TritonServer, protocol: Protocol) -> None:
    verdict = verify(
        _target(small_server, "echo", protocol),
        _samples([[1, 2]]),
        slo=Slo(p99_s=1e-6),
        rate_rps=0,
        duration_s=1.0,
        concurrency=4,
        warmup_s=0,
    )
    assert verdict.measurement.p99_s > 1e-6
    assert verdict.outcome is not Outcome.HELD
    assert verdict.attainment < 1


@PROTOCOLS
@pytest.mark.parametrize("binary", [True, False])
def test_answers_are_those_of_the_model(small_server: TritonServer, protocol: Protocol, binary: bool) -> None:
    ((root,), _) = ask(_target(small_server, "root", protocol), _samples([[4, 9], [1, 0]]), binary=binary)
    assert (root.name, root.datatype, root.data.tolist()) == ("y", "FP32", [[2.0, 3.0]])
    text = from_items(["héllo".encode()]).reshape(1, 1)
    ((words,),) = ask(_target(small_server, "words", protocol), [_sample(text, "BYTES")], binary=binary)
    assert words.data.tolist() == [["héllo".encode()]]


@PROTOCOLS
def test_megabytes_go_through_both_ways(small_server: TritonServer, protocol: Protocol) -> None:
    target = _target(small_server, "wide", protocol)
    data = np.arange(750_000, dtype=np.float32).reshape(1, -1)
    ((answer,),) = ask(target, [_sample(data)])
    assert np.array_equal(answer.data, data)
    result = run_open_loop(target, [encode(_sample(data), target)], constant(50, 0.4))
    assert (result.errors, int(result.ok.sum())) == ({}, 20)


@PROTOCOLS
def test_nan_is_told_with_its_output_and_sample(small_server: TritonServer, protocol: Protocol) -> None:
    target = _target(small_server, "root", protocol)
    with pytest.raises(ModelError, match="root answers NaN in output `y` for sample 2"):
        check_answers(target, _samples([[1, 1], [2, 2], [3, -3]]))
    with pytest.raises(ModelError, match="root answers Inf in output `y` for sample 0"):
        check_answers(target, _samples([[np.inf, 1]]))


def test_a_missing_output_is_told_by_name(small_server: TritonServer) -> None:
    with pytest.raises(ModelError, match="echo answers without `label` for sample 0"):
        check_answers(_target(small_server, "echo", Protocol.REST), _samples([[1, 1]]), outputs=["y", "label"])


@PROTOCOLS
def test_a_refusal_is_told_in_the_servers_own_words(small_server: TritonServer, protocol: Protocol) -> None:
    with pytest.raises(ModelError, match=r"nothing at .* answers .*unknown model"):
        ask(_target(small_server, "nothing", protocol), _samples([[1, 1]]))
    with pytest.raises(ModelError, match=r"echo at .* answers .* to sample 0: .*unexpected shape"):
        ask(_target(small_server, "echo", protocol), _samples([[1, 1, 1]]))


@PROTOCOLS
def test_metadata_comes_over_either_protocol(small_server: TritonServer, protocol: Protocol) -> None:
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
    inputs, outputs = fetch_metadata(_target(small_server, "echo", protocol))
    assert (inputs, [output.name for output in outputs]) == ((spec,), ["y"])


@PROTOCOLS
def test_the_wrong_port_of_a_server_is_unreachable_or_nonsense_but_never_a_hang(
    small_server: TritonServer, protocol: Protocol
) -> None:
    other = small_server.grpc_url if protocol is Protocol.REST else small_server.http_url
    target = parse_target(other, model="echo", protocol=protocol)
    with pytest.raises((UnreachableError, ModelError)):
        ask(target, _samples([[1, 1]]))
