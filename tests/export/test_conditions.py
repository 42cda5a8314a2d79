"""Conditions on columns, typed by what the columns hold."""

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import record

from surgicalft.export import select, select_records
from surgicalft.export.conditions import Condition, parse

FRAME = pd.DataFrame(
    {
        "scenario": ["cifar10-c/fog/3", "glyphs-flip", "cifar10-c/snow", "größe"],
        "n_tune": [20.0, 200.0, math.nan, 1000.0],
        "strength": [0.1, "auto", None, 3],
        "flip": [True, False, None, True],
        "variant": ["code", "", None, "code"],
        "valid_loss": [0.5, math.inf, math.nan, -1.0],
        "epoch": pd.array([1, 2, None, 4], dtype="Int64"),
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("n_tune=200", [1]),
        ("n_tune == 2e2", [1]),
        ("n_tune=20|1000", [0, 3]),
        ("n_tune!=200", [0, 2, 3]),  # a row without the value is not 200
        ("n_tune!=200|20", [2, 3]),
        ("n_tune>20", [1, 3]),
        ("n_tune>=20", [0, 1, 3]),
        ("n_tune<200", [0]),
        ("n_tune<=200", [0, 1]),
        ("n_tune=", [2]),
        ("n_tune!=", [0, 1, 3]),
        ("n_tune=nan", [2]),
        ("epoch=2", [1]),
        ("epoch>1", [1, 3]),
        ("valid_loss=inf", [1]),
        ("valid_loss>0", [0, 1]),
        ("scenario=glyphs-flip", [1]),
        ("scenario=größe", [3]),
        ("scenario~cifar10-c/*", [0, 2]),
        ("scenario~*/s???", [2]),
        ("scenario>g", [1, 3]),
        ("strength=auto", [1]),
        ("strength=0.1", [0]),
        ("strength>0", [0, 3]),  # texts are neither more nor less than a number
        ("strength=", [2]),
        ("flip=true", [0, 3]),
        ("flip=False", [1]),
        ("flip!=True", [1, 2]),
        ("variant=", [1, 2]),
        ("variant=code", [0, 3]),
    ],
)
def test_rows_that_meet_a_condition(condition: str, rows: list[int]) -> None:
    assert select(FRAME, [condition]).index.tolist() == rows


def test_all_conditions_are_met() -> None:
    assert select(FRAME, ["n_tune>20", "flip=true"]).index.tolist() == [3]
    assert len(select(FRAME, [])) == 4


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("n_tune=many", "n_tune is a number, not 'many'"),
        ("n_tune>many", "n_tune is a number, not 'many'"),
        ("flip=1", "flip is true or false, not '1'"),
        ("flip>true", "nothing is larger or smaller than 'true'"),
        ("n_tune<", "nothing is larger or smaller than ''"),
        ("n_tun=3", r"unknown column 'n_tun'; did you mean 'n_tune'\? legal: scenario, n_tune"),
        ("seed", "a condition is NAME=VALUE.*not 'seed'"),
        ("=3", "a condition is NAME=VALUE"),
        ("", "a condition is NAME=VALUE"),
    ],
)
def test_what_does_not_parse_is_named(condition: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select(FRAME, [condition])


def test_a_name_that_is_nested_is_suggested_whole() -> None:
    frame = pd.DataFrame({"pretrain.epochs": [3], "metrics.worst_group": [50.0]})
    with pytest.raises(ValueError, match=r"did you mean 'metrics\.worst_group'\?"):
        select(frame, ["worst_group>3"])


def test_records_by_nested_settings() -> None:
    records = [record(seed=i, pretrain={"epochs": i, "source": "glyphs"}) for i in range(3)]
    assert select_records(records, ["pretrain.epochs>=1", "pretrain.source=glyphs"]) == records[1:]


def test_values_may_hold_signs() -> None:
    assert parse("error=a=b>c") == Condition("error", "=", "a=b>c")
    assert parse(" selection = block 1 ") == Condition("selection", "=", "block 1")


values = st.none() | st.floats() | st.integers(-5, 5) | st.booleans() | st.text(max_size=3)


@given(st.lists(values, min_size=1), values.map(str))
def test_equal_and_unequal_part_the_rows(column: list[Any], value: str) -> None:
    frame = pd.DataFrame({"x": pd.Series(column, dtype=object)})
    try:
        equal = select(frame, [f"x={value}"]).index.tolist()
    except ValueError:  # a column of numbers and a value that is none
        return
    unequal = select(frame, [f"x!={value}"]).index.tolist()
    assert sorted(equal + unequal) == list(range(len(column)))
