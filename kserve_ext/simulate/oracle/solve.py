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
_PRICE_STEP = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """What a clairvoyant policy pays, in mean replicas, start-up included."""

    attainment: float  # asked for
    late_allowed: int
    work: float  # no policy costs less: the work bound
    bound: float  # no path of whole replicas per epoch costs less: the dual value, or the work bound if that is higher
    billed: float  # what the path costs, or the bound if that is higher
    late: int  # requests late on the path, as the table counts them: in the oracle's favour
    starts: int
    path: tuple[int, ...]  # replicas ready in each epoch

    @property
    def gap(self) -> float:
        """How far the path is from the best one at most: its cost over the bound, less 1."""
        return self.billed / self.bound - 1.0 if self.bound else 0.0


def solve(table: LateTable, *, attainment: float, start_up_s: float) -> Oracle:
    """The oracle's path and its bound. A replica is paid for from `start_up_s` before it is ready to its last epoch's end.

    The first epoch's replicas, as many as the oracle likes, are there at time 0 without a start-up, as the engine's
    initial replicas are; the next are ready at `start_up_s` at the earliest. For equal service times the bound holds
    for every path of whole replicas per epoch; for others, for those that serve first come, first served. Where epochs
    are short against the SLO, what they leave uncounted can exceed what queues cost: then the work bound stands in.
    Raises InfeasibleError where too many requests take longer than the SLO by themselves.
    """
    _check(table, attainment, start_up_s)
    allowed, duration_s = table.late_allowed(attainment), table.duration_s
    programme = Programme(table, start_up_s)
    dual_s, kept = _close_in(programme, allowed)
    work = work_bound(table, attainment)
    bound = max(dual_s / duration_s, work)
    return Oracle(
        attainment=attainment, late_allowed=allowed, work=work, bound=bound,
        billed=max(kept.cost_s / duration_s, bound), late=kept.late, starts=int(programme.climbs(kept.path).sum()),
        path=tuple(kept.path.tolist()),
    )  # fmt: skip


def work_bound(table: LateTable, attainment: float) -> float:
    """Mean replicas below which no policy can be: the shortest requests that have to be in time, one after another."""
    return table.work.least_s(table.work.requests - table.late_allowed(attainment)) / table.duration_s


def _close_in(programme: Programme, allowed: int) -> tuple[float, Priced]:
    """Greatest dual value, in replica-seconds, and the cheapest path found with no more than `allowed` late."""
    over = programme.best(0.0)
    if over.late <= allowed:
        return over.cost_s, over
    found, price_s = [over], _FIRST_PRICE_S
    while (kept := programme.best(price_s)).late > allowed:
        found.append(kept)
        price_s *= _PRICE_STEP
    while True:
        over = found[-1]
        price_s = (kept.cost_s - over.cost_s) / (over.late - kept.late)  # at which both are equally good
        best = programme.best(price_s)
        value_s = best.cost_s + price_s * best.late
        if value_s >= (kept.cost_s + price_s * kept.late) * (1.0 - 1e-12):
            break
        if best.late > allowed:
            found.append(best)
        else:
            kept = best
    dual_s = min(value_s - price_s * allowed, kept.cost_s)
    for over in reversed(found):
        kept = programme.exchange(kept, over, allowed)
    return dual_s, kept


def _check(table: LateTable, attainment: float, start_up_s: float) -> None:
    if not 0.0 <= attainment <= 1.0:
        raise InputError(
            Problem(what="not a share", field="attainment", found=f"{attainment:g}", allowed="0 to 1, e.g. 0.99")
        )
    if not 0.0 <= start_up_s < float("inf"):
        raise InputError(
            Problem(what="not a duration", field="start_up_s", found=f"{start_up_s:g}", allowed="0 s or more")
        )
    if table.hopeless > table.late_allowed(attainment):
        share = 1.0 - table.hopeless / table.requests
        raise InfeasibleError(
            f"{table.hopeless} of {table.requests} requests take longer than the SLO by themselves",
            binding="service time", nearest=f"an attainment of at most {share:.6f}, or a longer SLO",
        )  # fmt: skip
