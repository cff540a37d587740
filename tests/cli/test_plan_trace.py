"""Planning for a trace instead of a rate range."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

DAY = "t_s,emulated,other\n" + "".join(
    f"{hour * 3600},{3600 * (300 if 9 <= hour < 17 else 20)},{3600 * 5}\n" for hour in range(24)
)


@pytest.fixture
def day(tmp_path: Path) -> str:
    path = tmp_path / "day.csv"
    path.write_text(DAY)
    return str(path)


def test_the_rates_come_from_the_trace_and_the_replicas_over_the_day_are_told(
    kserve_ext, emulated: str, day: str
) -> None:
    plan = json.loads(kserve_ext("plan", emulated, "--trace", day, "-o", "json").stdout)
    reasons = {reason["field"]: reason for reason in plan["reasons"]}
    told = reasons["replicas_at_high_rate"]
    assert told["numbers"]["high_rps"] == 300
    assert (
        "day.csv (emulated) takes 1 to 2, 1.33 on average (by spans of four hours: 1, 1, 1.75, 2, 1.25, 1)"
        in told["text"]
    )
    assert reasons["scaling.min_replicas"]["numbers"]["low_rps"] == 20
    assert "day.csv (emulated)" in reasons["scaling.target_utilization_percent"]["text"]


def test_another_column_is_named_with_service(kserve_ext, emulated: str, day: str) -> None:
    plan = json.loads(kserve_ext("plan", emulated, "--trace", day, "--service", "other", "-o", "json").stdout)
    assert plan["replicas_at_high_rate"] == 1
    assert plan["prediction"]["rate_rps"] == 5


def test_explain_and_render_plan_for_the_same_trace(kserve_ext, emulated: str, day: str) -> None:
    explained = kserve_ext("explain", emulated, "replicas_at_high_rate", "--trace", day)
    assert "replicas_at_high_rate = 2" in explained.stdout
    assert "autoscaling.knative.dev/metric: rps" in kserve_ext("render", emulated, "--trace", day).stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--rate", "5rps"), "--rate, --trace: both given; allowed: one of them"),
        (("--service", "emulate"), "no such column; found emulate; allowed: emulated, other"),
        (("--peak-share", "most"), "--peak-share: cannot be read; found most"),
        (("--peak-share", "10%"), "not a share of the requests; found 0.1; allowed: 50% to 100%"),
    ],
)
def test_what_cannot_be_planned_for_is_refused(
    kserve_ext, emulated: str, day: str, options: tuple[str, ...], says: str
) -> None:
    done = kserve_ext("plan", emulated, "--trace", day, *options)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_trace_without_requests_is_nothing_to_plan_for(kserve_ext, emulated: str, tmp_path: Path) -> None:
    (tmp_path / "quiet.csv").write_text("t_s,m\n0,0\n60,0\n")
    done = kserve_ext("plan", emulated, "--trace", str(tmp_path / "quiet.csv"))
    assert done.returncode == 2
    assert "quiet.csv (m): no requests at all: there is nothing to plan for" in done.stderr
    assert "plan with a rate range instead" in done.stderr


def test_explain_covers_what_wakes_a_service_and_what_keeps_its_last_replica(kserve_ext, emulated: str) -> None:
    for field in ("activation_scale", "retention", "prediction"):
        assert kserve_ext("explain", emulated, field).returncode == 0
