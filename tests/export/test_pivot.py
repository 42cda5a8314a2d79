"""Means down and across, which are marked as best, and how they are shown."""

import math

import pandas as pd
import pytest
from result_records import by_seed, record

from surgicalft.export import choose_rates, mean_over, pivot
from surgicalft.export.columns import sort
from surgicalft.export.plain import lines, pivot_texts, text, texts
from surgicalft.export.view import view, view_pivot
from surgicalft.sweep.frame import to_frame


def means(**accuracies: list[float]) -> pd.DataFrame:
    """Means by selection, `block_1=[...]`, in one scenario."""
    records = [r for name, a in accuracies.items() for r in by_seed(a, name.replace("_", " "))]
    return mean_over(to_frame(records))


def best(table) -> list[list[bool]]:
    return [[cell is not None and cell.best for cell in row] for row in table.cells]


def test_rows_stand_as_in_the_network() -> None:
    table = pivot(means(all=[1.0], last=[2.0], block_10=[3.0], block_2=[4.0], none=[0.0]))
    assert [row[0] for row in table.row_values] == ["block 2", "block 10", "last", "all", "none"]
    assert table.rows == ("selection",) and table.column_values == []


def test_what_is_within_a_standard_error_of_the_best_is_best() -> None:
    # 80 ± 1, so that 79 is and 78.9 is not
    frame = means(block_1=[79.0, 81.0], block_2=[79.0, 79.0], last=[78.9, 78.9])
    assert best(pivot(frame)) == [[True], [True], [False]]
    assert best(pivot(frame, best="lowest")) == [[False], [False], [True]]
    assert best(pivot(frame, best="none")) == [[False]] * 3


def test_of_single_runs_the_best_alone_is_marked() -> None:
    assert best(pivot(means(block_1=[80.0], last=[79.99], all=[80.0]))) == [[True], [False], [True]]


def test_one_mean_is_not_the_best_of_anything() -> None:
    assert best(pivot(means(last=[80.0, 81.0]))) == [[False]]


def _grid() -> pd.DataFrame:
    values = {("a", "last"): 70.0, ("a", "all"): 60.0, ("b", "last"): 20.0, ("b", "all"): 30.0}
    records = [
        r for (s, name), v in values.items() for r in by_seed([v, v + 1.0], name, scenario=s)
    ]
    return mean_over(to_frame(records))


def test_selections_are_compared_wherever_they_stand() -> None:
    across = pivot(_grid(), ["scenario"], "selection")
    assert across.column_values == ["last", "all"] and across.compared == ("selection",)
    assert best(across) == [[True, False], [False, True]]
    down = pivot(_grid(), ["selection"], "scenario")
    assert best(down) == [[True, False], [False, True]]
    assert best(pivot(_grid(), ["scenario", "selection"])) == [[True], [False], [False], [True]]
    by_scenario = pivot(_grid(), ["scenario"], "selection", compare=["scenario"])
    assert best(by_scenario) == [[True, True], [False, False]]


def test_a_gap_is_a_gap() -> None:
    table = pivot(_grid().iloc[:3], ["scenario"], "selection")
    assert table.cells[1][1] is None
    assert pivot_texts(table).iloc[1].tolist() == ["b", "20.5 ± 0.5", "-"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": ["selektion"]}, r"unknown setting 'selektion'; did you mean 'selection'\?"),
        ({"rows": ["mean"]}, "unknown setting 'mean'"),
        (
            {"rows": ["selection"]},
            r"2 means share the cell of selection .*differ in \['scenario'\]",
        ),
        ({"rows": ["scenario"], "columns_by": "scenario"}, "can't stand both down and across"),
        ({"best": "top"}, "best must be one of .*not 'top'"),
        ({"rows": ["scenario", "selection"], "compare": ["seed"]}, "unknown setting to compare"),
    ],
)
def test_mistakes(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pivot(_grid(), **arguments)


def test_no_means() -> None:
    with pytest.raises(ValueError, match="there are no means"):
        pivot(mean_over(to_frame([])))


def test_failed_runs_are_seen() -> None:
    failed = [record(seed=1, error="OSError: x"), record(selection="all", error="OSError: x")]
    table = pivot(mean_over(to_frame([record(60.0), record(50.0, "none"), *failed])))
    assert pivot_texts(table)["mean"].tolist() == ["60.0 ± -† *", "failed", "50.0 ± -"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1000.0, "1000"),
        (123456.7, "123457"),
        (1e-5, "1e-05"),
        (0.1 + 0.2, "0.3"),
        (78.067415, "78.07"),
        (math.nan, "-"),
        (-math.inf, "-inf"),
        (None, "-"),
        (pd.NA, "-"),
        ("", "-"),
        (True, "true"),
        (0, "0"),
        ((0, 1), "0, 1"),
        ((), "-"),
        ("two\nlines", "two lines"),
        ("größe ✓", "größe ✓"),
    ],
)
def test_cells(value: object, shown: str) -> None:
    assert text(value) == shown


def test_columns_are_aligned_and_left_out_for_want_of_width() -> None:
    frame = pd.DataFrame(
        {"name": ["a", "long name"], "x": ["1", "22"], "test_accuracy": ["5", "-"]}
    )
    rows, dropped = lines(frame)
    assert rows == [
        "name        x  test_accuracy",
        "a           1              5",
        "long name  22              -",
    ]
    assert not dropped
    rows, dropped = lines(frame, 25, droppable=["name", "x"])
    assert rows[0] == "name       test_accuracy" and dropped == ["x"]
    rows, dropped = lines(frame, 5, droppable=["name", "x"])
    assert rows == ["test_accuracy", "            5", "            -"] and dropped == ["name", "x"]


def test_a_view_shows_what_differs_and_says_what_is_the_same() -> None:
    shown = view(
        to_frame([*by_seed([50.0, 60.0]), record(seed=2, error="Diverged: the loss is nan")])
    )
    first, *rest = shown.splitlines()
    assert first.split() == ["seed", "test_accuracy", "n_test", "status", "error"]
    assert rest[2].split() == ["2", "-", "-", "failed", "Diverged:", "the", "loss", "is", "nan"]
    assert "3 runs" in shown and "the same in all: scenario glyphs-flip, selection last" in shown


def test_a_view_is_cut_to_the_terminal_and_says_so() -> None:
    frame = to_frame(
        [record(1.0 * i, seed=i, pretrain={"source": "x" * (20 + i)}) for i in range(50)]
    )
    shown = view(frame, width=60, limit=10)
    assert max(map(len, shown.splitlines())) <= 60
    assert "50 runs, of which 10 are shown" in shown
    assert "left out for want of width: pretrain.source" in shown


def test_a_view_of_means_says_what_they_are() -> None:
    shown = view(
        mean_over(choose_rates(by_seed([70.0, 72.0]) + by_seed([60.0, 60.0], "all"), "oracle"))
    )
    assert shown.splitlines()[0].split()[:2] == ["selection", "mean"]
    assert "71.0 ± 1.0" in shown and "n = 2 seeds (0, 1)" in shown
    assert "oracle (reads test data: an upper bound, not a result)" in shown


def test_a_pivot_says_what_is_marked() -> None:
    frame = _grid()
    shown = view_pivot(frame, pivot(frame, ["scenario"], "selection"))
    assert "*: the best selection, and what lies within its standard error." in shown
    assert [line.split("  ")[0] for line in shown.splitlines()[:3]] == ["scenario", "a", "b"]


def test_sorting_mixed_columns() -> None:
    frame = pd.DataFrame({"x": ["auto", 2, None, 0.5, "block 10", "block 9"], "y": range(6)})
    assert sort(frame, ["x"])["y"].tolist() == [3, 1, 0, 5, 4, 2]
    assert sort(frame, ["x"], descending=True)["y"].tolist() == [4, 5, 0, 1, 3, 2]
    with pytest.raises(ValueError, match="unknown column to sort by 'z'"):
        sort(frame, ["z"])
    pairs = pd.DataFrame({"a": [1, 0, 1, 0], "b": [0, 1, 1, 0]})
    assert sort(pairs, ["a", "b"]).index.tolist() == [3, 1, 0, 2]


def test_texts_have_the_error_beside_the_mean() -> None:
    shown = texts(mean_over(to_frame(by_seed([70.0, 72.0]))))
    assert shown.loc[0, "mean"] == "71.0 ± 1.0" and "standard_error" not in shown
