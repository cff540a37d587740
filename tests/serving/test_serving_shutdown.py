from __future__ import annotations

import asyncio

from kserve_ext.serving.admission import Admission
from kserve_ext.serving.faults import NotReady, Overloaded
from kserve_ext.serving.settings import Settings
from kserve_ext.serving.shutdown import Shutdown


def test_the_end_waits_for_those_inside_and_lets_nobody_in() -> None:
    async def main() -> None:
        admission = Admission(limit=2)
        ending = Shutdown(admission, Settings(drain_delay_s=0.0, grace_period_s=3600.0))
        assert admission.enter() is None
        finished = asyncio.create_task(ending.finished())
        ending.begin()
        while not admission.closed:
            assert not finished.done()
            await asyncio.sleep(0)
        assert isinstance(admission.enter(), NotReady)
        await asyncio.sleep(0)
        assert not finished.done()
        admission.leave()
        assert await finished > 0

    asyncio.run(main())


def test_during_the_delay_the_doors_stay_open_and_a_second_signal_ends_all_waiting() -> None:
    async def main() -> None:
        admission = Admission(limit=2, in_flight=1)
        ending = Shutdown(admission, Settings(drain_delay_s=3600.0, grace_period_s=7200.0))
        finished = asyncio.create_task(ending.finished())
        ending.begin()
        await asyncio.sleep(0)
        assert (admission.ending, admission.enter()) == (True, None)
        ending.begin()
        await finished
        assert admission.closed

    asyncio.run(main())


def test_when_the_grace_period_is_over_nobody_is_waited_for() -> None:
    async def main() -> None:
        admission = Admission(limit=1, in_flight=1)
        ending = Shutdown(admission, Settings(drain_delay_s=3600.0, grace_period_s=1.0))
        ending.begin()
        assert await ending.finished() == 0

    asyncio.run(main())


def test_one_too_many_is_told_when_to_come_back() -> None:
    admission = Admission(limit=1)
    assert admission.enter() is None
    refused = admission.enter()
    assert isinstance(refused, Overloaded)
    assert refused.retry_after_s == 1
    admission.leave()
    assert admission.enter() is None
