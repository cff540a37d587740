from __future__ import annotations

import pytest

from kserve_ext.bench.quiet import Quiet

MUCH, LITTLE, NONE = 1e9, 1e6, 0.0  # CPU seconds of others in a run that takes no time


class Machine:
    """Others use the given amounts of CPU during the first, second, … run."""

    def __init__(self, amounts: list[float]) -> None:
        self._amounts = amounts
        self.runs = 0
        self._used = 0.0

    def foreign_s(self) -> float:
        return self._used

    def run(self) -> int:
        self._used += self._amounts[self.runs]
        self.runs += 1
        return self.runs


@pytest.mark.parametrize(
    ("amounts", "patience_s", "chosen", "runs"),
    [
        ([NONE], 9.0, 1, 1),
        ([MUCH, NONE], 9.0, 2, 2),
        ([MUCH, LITTLE, MUCH, MUCH, NONE], 9.0, 2, 4),
        ([MUCH, NONE], 0.0, 1, 1),
    ],
    ids=["quiet at once", "quiet the second time", "never quiet: the least disturbed of four", "no patience"],
)
def test_a_disturbed_run_is_done_again(amounts: list[float], patience_s: float, chosen: int, runs: int) -> None:
    machine = Machine(amounts)
    assert Quiet(machine.foreign_s, patience_s).least_disturbed(machine.run) == chosen
    assert machine.runs == runs


def test_patience_is_for_all_measurements_together() -> None:
    machine = Machine([MUCH] * 9)
    quiet = Quiet(machine.foreign_s, 1e-9)
    assert [quiet.least_disturbed(machine.run), machine.runs] == [1, 2]
    assert [quiet.least_disturbed(machine.run), machine.runs] == [3, 3]
