"""Further models in the same replica, as they are written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kserve_ext.domain import Neighbour, RateRange
from kserve_ext.errors import ManifestError
from kserve_ext.intent import PREFIX, read_services
from kserve_ext.intent.annotations import parse_annotation

NAME = PREFIX + "neighbours"
EMBED = Neighbour(model="embed", p99_s=0.12, rate=RateRange(low_rps=5.0, high_rps=60.0))
OCR = Neighbour(model="ocr", p99_s=0.3, rate=RateRange(low_rps=2.0, high_rps=2.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("embed 120ms 5..60rps", (EMBED,)),
        ("embed 120ms 5..60rps; ocr 300ms 2rps", (EMBED, OCR)),
        ("  embed   120ms  5rps .. 60rps ;ocr 300ms 2  ", (EMBED, OCR)),
    ],
)
def test_each_model_comes_with_its_p99_and_its_rates(text: str, expected: tuple[Neighbour, ...]) -> None:
    assert parse_annotation(NAME, text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "embed", "embed 120ms", "120ms 5rps", "embed 5rps 120ms", "embed 120ms 5rps;", "embed 0s 5rps",
     "embed 120ms 60..5rps", "embed 120ms 5rps, ocr 300ms 2rps", "embed 120ms 5rps; embed 300ms 2rps"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the place is added by the reader
        parse_annotation(NAME, text)


def test_the_services_own_model_is_not_a_neighbour(with_annotations: Callable[..., str]) -> None:
    text = with_annotations(
        "kserve-ext.dev/slo-p99: 60ms", "kserve-ext.dev/rate: 20rps", "kserve-ext.dev/neighbours: digits 50ms 5rps"
    )
    with pytest.raises(ManifestError, match=r"m.yaml:8.*own model among its neighbours"):
        read_services(text, "m.yaml")
