from __future__ import annotations

import pytest

from kserve_ext.errors import ManifestError
from kserve_ext.intent import read_services
from kserve_ext.units import parse_duration_s


def pinned(digits: str, name: str, text: str) -> dict[str, str]:
    manifest = digits + f"    annotations:\n      autoscaling.knative.dev/{name}: {text!r}\n"
    (service,) = read_services(manifest, "m.yaml")
    return dict(service.intent.pins.autoscaling)


def test_annotations_of_the_predictor_win_over_those_of_the_service(digits: str) -> None:
    text = digits.replace(
        "  annotations:\n",
        '  annotations:\n    autoscaling.knative.dev/window: 60s\n    autoscaling.knative.dev/target: "5"\n',
    )
    text += '    annotations:\n      autoscaling.knative.dev/target: "9"\n      example.com/a: b\n'
    (service,) = read_services(text, "m.yaml")
    assert service.intent.pins.autoscaling == {"window": "60s", "target": "9"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("target", "0.01"),
        ("target-utilization-percentage", "100"),
        ("target-burst-capacity", "-1"),
        ("target-burst-capacity", "0"),
        ("panic-window-percentage", "10.5"),
        ("panic-threshold-percentage", "1000"),
        ("initial-scale", "0"),
        ("activation-scale", "2"),
        ("scale-to-zero-pod-retention-period", "1h"),
        ("metric", "rps"),
        ("metric-aggregation-algorithm", "linear"),
    ],
)
def test_what_knative_takes_is_kept_as_written(digits: str, name: str, text: str) -> None:
    assert pinned(digits, name, text) == {name: text}


@pytest.mark.parametrize(("text", "seconds"), [("6s", 6.0), ("1h", 3600.0), ("1m30s", 90.0)])
def test_a_kept_window_is_a_duration(digits: str, text: str, seconds: float) -> None:
    assert parse_duration_s(pinned(digits, "window", text)["window"]) == seconds


def test_no_delay_is_a_plain_zero(digits: str) -> None:
    assert pinned(digits, "scale-down-delay", "0s") == {"scale-down-delay": "0"}


def test_the_old_spelling_is_the_same_annotation(digits: str) -> None:
    assert pinned(digits, "panicThresholdPercentage", "300") == {"panic-threshold-percentage": "300"}


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("target", "many", "a number from 0.01 up"),
        ("target", "0", "a number from 0.01 up"),
        ("target", "nan", "a number from 0.01 up"),
        ("target", "inf", "a number from 0.01 up"),
        ("target-utilization-percentage", "0.7", "a number from 1 to 100"),
        ("target-burst-capacity", "-2", "a number from 0 up, or -1"),
        ("panic-threshold-percentage", "100", "a number from 110 to 1000"),
        ("initial-scale", "1.5", "a whole number from 0 up"),
        ("activation-scale", "1", "a whole number from 2 up"),
        ("scale-to-zero-pod-retention-period", "61m", "whole seconds from 0s to 1h"),
        ("window", "5s", "whole seconds from 6s to 1h"),
        ("window", "60", "whole seconds from 6s to 1h"),
        ("window", "6500ms", "whole seconds from 6s to 1h"),
        ("scale-down-delay", "2h", "whole seconds from 0s to 1h"),
        ("metric", "latency", "cpu, memory, concurrency, rps"),
        ("min-scale", "2", "spec.predictor.minReplicas"),
        ("maxScale", "2", "spec.predictor.maxReplicas"),
    ],
)
def test_what_knative_or_kserve_would_not_take_is_told_with_its_place(
    digits: str, name: str, text: str, allowed: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        pinned(digits, name, text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.field, problem.found, problem.allowed) == (
        14,
        f"spec.predictor.annotations[autoscaling.knative.dev/{name}]",
        repr(text),
        allowed,
    )
