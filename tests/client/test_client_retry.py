from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.client.answer import Answer, Outcome, http_answer, unanswered
from kserve_ext.client.budget import Budget
from kserve_ext.client.retry import RetryPolicy, Send, Wait, attempts, earn, spend, wait_s
from kserve_ext.errors import InputError

GOOD, BAD = http_answer(200, b""), http_answer(500, b"")
REFUSED = unanswered(Outcome.UNAVAILABLE, "connection refused", again=True)


def asked_again(after_s: int) -> Answer:
    return http_answer(503, b"", retry_after=str(after_s))


def play(
    *answers: Answer, timeout_s: float = 10.0, policy: RetryPolicy | None = None, budget: bool = True, took_s: float = 1
) -> tuple[list[Send | Wait], Answer, int]:
    """What a client does with these answers, each of which takes `took_s`, on a clock of its own."""
    now, waiting, done = [100.0], iter(answers), []
    steps = attempts(
        timeout_s=timeout_s,
        policy=policy or RetryPolicy(),
        may_retry=lambda: budget,
        clock=lambda: now[0],
        draw=lambda: 0.5,
    )
    step = next(steps)
    try:
        while True:
            done.append(step)
            now[0] += step.seconds if isinstance(step, Wait) else took_s
            step = steps.send(None if isinstance(step, Wait) else next(waiting))
    except StopIteration as end:
        return done, *end.value


def test_a_good_answer_ends_it() -> None:
    assert play(GOOD) == ([Send(10.0)], GOOD, 1)


def test_a_refused_connection_is_tried_again_after_a_short_random_wait() -> None:
    done, answer, sent = play(REFUSED, REFUSED, GOOD)
    assert done == [Send(10.0), Wait(0.025), Send(pytest.approx(8.975)), Wait(0.05), Send(pytest.approx(7.925))]
    assert (answer, sent) == (GOOD, 3)


def test_attempts_are_bounded() -> None:
    assert play(*[REFUSED] * 9)[1:] == (REFUSED, 3)


def test_the_server_s_own_wish_is_waited_for_in_full() -> None:
    done, _, _ = play(asked_again(2), GOOD)
    assert done[1] == Wait(2.025)


@pytest.mark.parametrize("fatal", [BAD, http_answer(503, b""), unanswered(Outcome.LATE, "late")])
def test_what_may_have_been_worked_on_is_not_sent_again(fatal: Answer) -> None:
    assert play(fatal, GOOD)[1:] == (fatal, 1)


def test_a_wait_that_does_not_fit_into_the_deadline_is_not_begun() -> None:
    done, answer, _ = play(asked_again(9), GOOD, timeout_s=10.0)
    assert done == [Send(10.0)]
    assert answer.reply.outcome == "HTTP 503"


def test_nothing_is_sent_again_without_budget() -> None:
    assert play(REFUSED, GOOD, budget=False)[1:] == (REFUSED, 1)


@given(st.integers(1, 400), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 100))
def test_a_wait_is_bounded_and_never_shorter_than_asked(retry: int, draw: float, asked: float | None) -> None:
    policy = RetryPolicy()
    assert (asked or 0) <= wait_s(policy, retry, draw, asked) <= (asked or 0) + policy.longest_wait_s


@given(st.floats(0, 1), st.floats(0, 20), st.lists(st.booleans(), max_size=300))
def test_the_budget_is_never_exceeded(share: float, burst: float, wants: list[bool]) -> None:
    """After any number of requests, retries are at most the burst and the share of the requests."""
    policy = RetryPolicy(share=share, burst=burst)
    tokens, retries = policy.burst, 0
    for requests, want in enumerate(wants, 1):
        tokens = earn(tokens, policy)
        if want and (left := spend(tokens)) is not None:
            tokens, retries = left, retries + 1
        assert 0 <= tokens <= max(burst, 0)
        assert retries <= burst + share * requests + 1e-6


def test_a_budget_is_shared_by_all_requests_of_a_client() -> None:
    budget = Budget(RetryPolicy(burst=2, share=0.5))
    assert [budget.take() for _ in range(3)] == [True, True, False]
    budget.request()
    assert not budget.take()
    budget.request()
    assert budget.take()


@pytest.mark.parametrize(
    ("field", "value"), [("attempts", 0), ("first_wait_s", -1), ("longest_wait_s", 0.01), ("share", 2), ("burst", -1)]
)
def test_a_policy_out_of_range_names_the_field(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"retry.{field}: out of range"):
        RetryPolicy(**{field: value})  # type: ignore[arg-type]
