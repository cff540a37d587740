"""The cheapest number of replicas for each epoch, with all traffic known and so many requests allowed late.

A Lagrange multiplier prices a late request, a dynamic programme finds the best path for a price, and prices close in
on the allowance. The dual value is a lower bound for every path of whole replicas per epoch; the cheapest path found
that keeps the allowance is the oracle's policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from kserve_ext.errors import InfeasibleError, InputError, Problem
from kserve_ext.simulate.oracle.programme import Priced, Programme
from kserve_ext.simulate.oracle.table import LateTable

_FIRST_PRICE_S = 1.0  # replica-seconds for one late request
_DEAREST_S = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """What a clairvoyant policy pays, in mean replicas, start-up included."""

    attainment: float  # asked for
    late_allowed: int
    work: float  # no policy costs less: the work bound
    bound: float  # no path of whole replicas per epoch costs less: the dual value, or the work bound if that is higher
    billed: float  # what the path costs
    late: int  # requests late on the path, as the table counts them
    starts: int
    path: tuple[int, ...]  # replicas ready in each epoch
    epoch_s: int

    @property
    def gap(self) -> float:
        """How far the path is from the best one at most: its cost over the bound, less 1."""
        return self.billed / self.bound - 1.0 if self.bound else 0.0


def solve(
    table: LateTable,
    *,
    attainment: float,
    start_up_s: float,
    initial_replicas: int | None = None,
    most_replicas: int | None = None,
) -> Oracle:
    """The oracle's path and its bound. A replica is paid from `start_up_s` before it is ready until its last epoch ends.

    The first replicas are there at time 0 and their start-up is not billed, as in the engine: as many as the oracle
    likes, or `initial_replicas`. `most_replicas` caps the path. Raises InfeasibleError where no path is good enough.
    """
    _check(attainment, start_up_s)
    allowed = table.late_allowed(attainment)
    programme = Programme(table, start_up_s, initial_replicas, most_replicas)
    dual_s, kept = _close_in(programme, allowed, table.requests)
    duration_s = table.duration_s
    work = work_bound(table, attainment)
    climbs = programme.climbs(kept.path)
    return Oracle(
        attainment=attainment, late_allowed=allowed, work=work, bound=max(dual_s / duration_s, work),
        billed=kept.cost_s / duration_s, late=kept.late, starts=int(climbs.sum()),
        path=tuple(kept.path.tolist()), epoch_s=table.epoch_s,
    )  # fmt: skip


def work_bound(table: LateTable, attainment: float) -> float:
    """Mean replicas below which no policy can be: the shortest requests that have to be in time, one after another."""
    return table.work.least_s(table.work.requests - table.late_allowed(attainment)) / table.duration_s


def _close_in(programme: Programme, allowed: int, requests: int) -> tuple[float, Priced]:
    """Greatest dual value, in replica-seconds, and the cheapest path found with no more than `allowed` late."""
    over = programme.best(0.0)
    if over.late <= allowed:
        return over.cost_s, over
    kept, over = _bracket(programme, allowed, over, requests)
    found = [over]
    while True:
        price_s = (kept.cost_s - over.cost_s) / (over.late - kept.late)  # where both are equally good
        best = programme.best(price_s)
        value_s = best.cost_s + price_s * best.late
        if value_s >= (kept.cost_s + price_s * kept.late) * (1 - 1e-12):
            break
        if best.late > allowed:
            over = best
            found.append(over)
        else:
            kept = best
    dual_s = min(value_s - price_s * allowed, kept.cost_s)
    for other in reversed(found):
        kept = programme.exchange(kept, other, allowed)
    return dual_s, kept


def _bracket(programme: Programme, allowed: int, over: Priced, requests: int) -> tuple[Priced, Priced]:
    """A path that keeps the allowance and the best cheaper one seen that does not."""
    price_s = _FIRST_PRICE_S
    while (best := programme.best(price_s)).late > allowed:
        if price_s > _DEAREST_S:
            share = 1.0 - best.late / requests
            raise InfeasibleError(
                f"at most {share:.4%} of the requests can be in time",
                binding="service time, start-up or most replicas",
                nearest=f"ask for an attainment of {share:.6f} or less",
            )
        over, price_s = best, price_s * 16.0
    return best, over


def _check(attainment: float, start_up_s: float) -> None:
    if not 0.0 <= attainment <= 1.0:
        raise InputError(
            Problem(what="not a share", field="attainment", found=f"{attainment:g}", allowed="0 to 1, e.g. 0.99")
        )
    if not 0.0 <= start_up_s < float("inf"):
        raise InputError(
            Problem(what="not a duration", field="start_up_s", found=f"{start_up_s:g}", allowed="0 s or more")
        )
