"""What people read of a table."""

import math
from collections.abc import Callable

import pytest

from surgicalft.report.markdown import markdown, uncertain
from surgicalft.report.tables import summary
from surgicalft.sweep.record import Record


def test_markdown_says_each_thing_once(record: Callable[..., Record]) -> None:
    records = [
        record(accuracy, scenario=f"cifar10-c/{name}", selection=selection, n_tune=1000, seed=seed)
        for name, a in (("fog", 80.0), ("snow", 73.0))
        for selection, b in (("block 1", 0.0), ("all", -2.0))
        for seed, c in ((0, -1.5), (1, 1.5))
        for accuracy in [a + b + c]
    ]
    table = summary(records, pool=True)
    text = markdown(table, {"profile": "embedded", "seeds": [0, 1]})
    head, rule, *rest = text.splitlines()
    assert head.startswith("| scenario | selection | mean ± s.e. |")
    assert head.count("|") == rule.count("|") == rest[0].count("|")
    assert "| cifar10-c/* | block 1 | 76.5 ± 1.5 |" in text
    assert "| 82.8 ± 0.6 |" in text
    assert "standard_error" not in text
    notes = [line for line in rest if line.startswith("- ")]
    assert {"- profile: embedded", "- seeds: 0, 1", "- rule: target_valid"} <= set(notes)
    assert "target_valid" not in "".join(line for line in rest if line.startswith("|"))


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (82.84, 0.61, "82.8 ± 0.6"),
        (82.84, 0.031, "82.84 ± 0.03"),
        (82.84, math.nan, "82.8 ± -"),
        (82.84, 0.0, "82.8 ± 0.0"),
        (82.84, 1e-15, "82.8 ± 0.0"),
        (100.0, 0.096, "100.0 ± 0.1"),
        (-1.25, 12.34, "-1.2 ± 12.3"),
        (math.nan, math.nan, "-"),
    ],
)
def test_sensible_digits(mean: float, error: float, text: str) -> None:
    assert uncertain(mean, error) == text
