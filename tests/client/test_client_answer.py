from __future__ import annotations

import grpc
import pytest

from kserve_ext.client.answer import Outcome, grpc_answer, http_answer


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.ANSWERED), (301, Outcome.FAILED), (400, Outcome.REFUSED), (404, Outcome.NOT_FOUND),
        (413, Outcome.REFUSED), (429, Outcome.UNAVAILABLE), (500, Outcome.FAILED), (502, Outcome.UNAVAILABLE),
        (503, Outcome.UNAVAILABLE), (504, Outcome.LATE),
    ],
)  # fmt: skip
def test_an_http_status_has_one_meaning_and_alone_is_never_a_reason_to_send_again(
    status: int, outcome: Outcome
) -> None:
    answer = http_answer(status, b"why")
    assert (answer.outcome, answer.again) == (outcome, False)


@pytest.mark.parametrize(
    ("status", "retry_after", "again", "after_s"),
    [
        (503, "0", True, 0.0),
        (429, " 2 ", True, 2.0),
        (503, "Sun, 22 Nov 2026 12:00:05 GMT", True, 5.0),
        (503, "Sun, 22 Nov 2026 11:00:00 GMT", True, 0.0),
        (503, "soon", False, None),
        (500, "1", False, None),
        (400, "1", False, None),
    ],
)
def test_a_server_that_says_when_may_be_asked_again_then(
    status: int, retry_after: str, again: bool, after_s: float | None
) -> None:
    noon_s = 1795348800.0  # 2026-11-22 12:00 UTC
    answer = http_answer(status, b"", retry_after=retry_after, now_s=noon_s)
    assert (answer.again, answer.retry_after_s) == (again, after_s)


@pytest.mark.parametrize(
    ("name", "pushback", "outcome", "again"),
    [
        ("UNAVAILABLE", None, Outcome.UNAVAILABLE, True),
        ("UNAVAILABLE", "250", Outcome.UNAVAILABLE, True),
        ("UNAVAILABLE", "-1", Outcome.UNAVAILABLE, False),
        ("RESOURCE_EXHAUSTED", None, Outcome.UNAVAILABLE, False),
        ("RESOURCE_EXHAUSTED", "250", Outcome.UNAVAILABLE, True),
        ("INVALID_ARGUMENT", None, Outcome.REFUSED, False),
        ("NOT_FOUND", None, Outcome.NOT_FOUND, False),
        ("DEADLINE_EXCEEDED", None, Outcome.LATE, False),
        ("INTERNAL", "250", Outcome.FAILED, False),
    ],
)
def test_only_a_grpc_server_that_did_not_begin_may_be_asked_again(
    name: str, pushback: str | None, outcome: Outcome, again: bool
) -> None:
    answer = grpc_answer(name, 1, "why", pushback_ms=pushback)
    assert (answer.outcome, answer.again) == (outcome, again)
    assert answer.retry_after_s == (0.25 if again and pushback else None)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_grpc_code_is_something_else_than_a_good_answer(code: grpc.StatusCode) -> None:
    assert grpc_answer(code.name, code.value[0], "").outcome is not Outcome.ANSWERED
