"""The table of a user's own network, its errors by hand, and what is made of it."""

import math

import pytest

from surgicalft.blocks import Block, Blocks
from surgicalft.report.own_model import best, chosen_runs, difference, level_of, table
from surgicalft.report.own_model_figure import own_model_figure
from surgicalft.report.own_model_words import KINDS, cautions, conclude, failure_notes
from surgicalft.sweep.record import Record

SIZES = {"block 1": 10, "block 2": 20, "last": 5, "all": 40, "none": 0}
LEVELS = {"block 1": "input", "block 2": "feature", "last": "output"}
N = 400


def record(selection, seed, test, valid, rate=1e-2, loss=1.0, passes=100.0, error=""):
    settings = {"selection": selection, "seed": seed, "learning_rate": rate}
    return Record(
        f"{selection} {seed} {rate}",
        settings,
        "failed" if test is None else "finished",
        error,
        valid_accuracy=valid,
        valid_loss=loss,
        test_accuracy=test,
        n_test=N,
        wall_time=2.0,
        metrics={"forward_passes": passes},
    )


def records(**tests):
    """Two seeds of every selection; `tests` gives test accuracies, and validation accuracies are their mean."""
    means = {"block_1": (80, 84), "block_2": (60, 60), "last": (50, 52), "all": (79, 81), "none": (40, 40)}  # fmt: skip
    found = []
    for name, values in {**means, **tests}.items():
        passes = 50.0 if name == "block_1" else 100.0
        for seed, value in enumerate(values):
            found.append(
                record(name.replace("_", " "), seed, value, sum(values) / 2, passes=passes)
            )
    return found


def test_by_hand():
    rows = table(records(), SIZES).set_index("selection")
    assert list(rows.index) == list(SIZES)
    first = rows.loc["block 1"]
    assert first["test_accuracy"] == 82 and first["test_accuracy_error"] == 2  # sd 2√2 / √2
    assert first["valid_accuracy"] == 82 and first["valid_accuracy_error"] == 0
    # of 80 and 84 %: mean of 4 and 3.36
    assert first["binomial_error"] == pytest.approx(math.sqrt((80 * 20 + 84 * 16) / 2 / N))
    assert first["difference"] == 2  # of 1 and 3: s.e. 1; the binomial error is larger
    variances = (80 * 20 + 79 * 21) / N, (84 * 16 + 81 * 19) / N
    assert first["difference_error"] == pytest.approx(math.sqrt(sum(variances) / 2))
    assert (first["share"], first["cost"], first["seconds"]) == (25, 0.5, 2)
    assert first["learning_rates"] == (1e-2, 1e-2) and rows.loc["none", "learning_rates"] == ()
    assert math.isnan(rows.loc["all", "difference"])


def test_the_error_of_a_difference_is_the_larger_one():
    runs = chosen_runs(records(block_1=(70, 90), all=(80, 60)))
    found = difference(runs, "block 1", "all")  # -10 and 30: s.e. 20, binomial about 3
    assert (found.mean, found.error, found.verdict) == (10, 20, "level")
    single = chosen_runs([record("last", 0, 90, 90), record("all", 0, 80, 80)])
    found = difference(single, "last", "all")
    assert found.error == pytest.approx(math.sqrt((90 * 10 + 80 * 20) / N))
    assert (found.verdict, difference(single, "all", "last").verdict) == ("ahead", "behind")
    assert difference(single, "last", "block 1").verdict == ""


def test_rates_are_chosen_by_validation():
    runs = [
        record("all", 0, 10, 70, rate=1e-1),
        record("all", 0, 20, 90, rate=1e-2, loss=2.0),
        record("all", 0, 30, 90, rate=1e-3, loss=1.0),
        record("all", 0, None, None, rate=1e-4),
        record("none", 0, 5, 5, rate=0.0),
    ]
    found = table(runs, {"all": 1, "none": 0}).set_index("selection").loc["all"]
    assert found["learning_rates"] == (1e-3,) and found["test_accuracy"] == 30
    assert found["n_failed"] == 1 and math.isnan(found["test_accuracy_error"])


def test_ties_go_to_the_lower_loss_and_half_results_are_left_out():
    runs = [record("a", 0, 1, 60, loss=2.0), record("b", 0, 1, 60, loss=1.0), record("c", 0, 1, 90)]
    both = [record("a", 1, 1, 60, loss=2.0), record("b", 1, 1, 60, loss=1.0)]
    assert best(chosen_runs(runs), "abc") == "c"
    assert best(chosen_runs(runs + both), "abc") == "b"
    assert best(chosen_runs(runs + both), "c") is None


@pytest.mark.parametrize(
    ("tests", "recommended", "kind", "words"),
    [
        ({}, "block 1", "input", "level with tuning everything (+2.0 ± 2.8 points). By the paper's rule, early"),
        ({"all": (60, 60)}, "block 1", "input", "ahead of tuning everything (+22.0 ± 3.1 points)"),
        ({"last": (95, 95)}, "last", "output", "Tune last: 95.0 ± 0.0 % on the test images, 40.0 without tuning, with"),
        ({"block_2": (90, 94)}, "block 2", "feature", "middle blocks point to a shift of features"),
        ({"all": (99, 99)}, "all", "input", "Tune everything: 99.0 ± 0.0 %"),
        ({"block_2": (81, 82)}, "block 1", "unclear", "one of input or feature stays unclear (block 1 against block 2"),
        ({"last": (30, 100)}, "block 1", "unclear", "input or output stays unclear (block 1 against last, the closest"),
        ({"none": (81, 80)}, "block 1", "unclear", "block 1, is not clearly ahead of no tuning"),
        ({"none": (90, 90)}, "none", "unclear", "Tune nothing: 90.0 ± 0.0 %"),
    ],
)  # fmt: skip
def test_what_follows(tests, recommended, kind, words):
    runs = records(**tests)
    found = conclude(chosen_runs(runs), table(runs, SIZES), LEVELS)
    assert (found.recommended, found.kind) == (recommended, kind)
    assert words in found.text
    assert (kind == "unclear") == (not any(text in found.text for text in KINDS.values()))


def test_validation_and_test_may_disagree():
    """A block that validation prefers and the test images do not: both are said."""
    runs = [r for r in records() if r.settings["selection"] != "block 1"]
    runs += [record("block 1", seed, 60, 95) for seed in (0, 1)]
    found = conclude(chosen_runs(runs), table(runs, SIZES), LEVELS)
    assert found.recommended == "block 1"
    assert (
        "better on the test images (-20.0 ± 3.2 points), which validation did not show"
        in found.text
    )


def test_without_other_parts_or_without_all():
    runs = [r for r in records() if r.settings["selection"] in ("block 1", "all", "none")]
    sizes = {name: SIZES[name] for name in ("block 1", "all", "none")}
    found = conclude(chosen_runs(runs), table(runs, sizes), {"block 1": "input"})
    assert found.kind == "unclear" and "Nothing was tried in other parts" in found.text
    failed = [r for r in records() if r.settings["selection"] != "all"] + [record("all", 0, None, None)]  # fmt: skip
    found = conclude(chosen_runs(failed), table(failed, SIZES), LEVELS)
    assert "Tuning everything failed" in found.text and found.kind == "input"
    half = [record("all", 0, 1, 1), record("none", 1, 1, 1)]
    message = "no tuned selection has a finished run for each seed"
    with pytest.raises(RuntimeError, match=message):
        conclude(chosen_runs(half), table(half, SIZES), LEVELS)
    half.append(record("none", 0, 1, 1))  # it alone is whole: not better than anything
    with pytest.raises(RuntimeError, match=message):
        conclude(chosen_runs(half), table(half, SIZES), LEVELS)


def test_without_the_run_without_tuning():
    runs = [r for r in records() if r.settings["selection"] != "none"]
    runs += [record("none", seed, None, None) for seed in (0, 1)]
    found = conclude(chosen_runs(runs), table(runs, SIZES), LEVELS)
    assert found.recommended == "block 1" and found.kind == "unclear"
    assert "82.0 ± 2.0 % on the test images, the run without tuning failed, with" in found.text
    assert "There is no result without tuning to compare with" in found.text
    assert "nan" not in found.text


def test_cautions():
    runs = [*records(), record("last", 0, None, None, rate=1e-3)]
    tried = {"block 1": (1e-1, 1e-2), "block 2": (1e-2, 1e-3), "last": (1e-1, 1e-2, 1e-3), "all": (1e-2,)}  # fmt: skip
    assert list(cautions(table(runs, SIZES), tried)) == [
        "The smallest learning rate was mostly the best for block 1: try beyond it.",
        "The largest learning rate was mostly the best for block 2: try beyond it.",
    ]


def test_failed_runs_are_told_by_selection_with_the_first_reason():
    oom = "OutOfMemoryError: CUDA out of memory.\n  Tried to allocate 2.00 GiB"
    runs = [
        *records(),
        record("last", 0, None, None, rate=1e-3, error="Diverged: in epoch 2"),
        record("last", 1, None, None, rate=1e-1, error="ValueError: another"),
        record("block 2", 2, None, None, error=oom),
        record("head", 0, None, None, rate=0.1, error="TypeError: " + "x" * 1000),
        record("head", 1, None, None, rate=0.1),
        record("stem", 0, None, None, error="KeyError: 'a'"),
    ]
    notes = list(failure_notes(runs))
    assert notes[1] == (
        "last: 2 of 4 runs failed and are left out; the first at learning rate 0.001, seed 0: Diverged: in epoch 2."
    )
    assert notes[0] == (
        "block 2: 1 of 3 runs failed and are left out; the first at learning rate 0.01, seed 2: OutOfMemoryError: CUDA "
        "out of memory. Tried to allocate 2.00 GiB. Without a result for seed 2 it is not recommended."
    )
    assert notes[2].startswith(
        "head: all 2 runs failed; the first at learning rate 0.1, seed 0: TypeE"
    )
    assert notes[2].endswith("x…. Without a result for seeds 0, 1 it is not recommended.")
    assert len(notes[2]) < 500
    assert notes[3].startswith("stem: its only run failed; the first at ")
    assert list(failure_notes(records())) == []


@pytest.mark.parametrize(("count", "early"), [(1, 1), (3, 1), (5, 2), (13, 5)])
def test_levels(count, early):
    names = [f"part {i}" for i in range(count)]
    blocks = Blocks(tuple(Block(name, (f"{name}.weight",), 1) for name in [*names, "head"]))
    levels = [level_of(blocks, blocks.parameters(name)) for name in blocks]
    assert levels == ["input"] * early + ["feature"] * (count - early) + ["output"]
    along = blocks.select(f"part {count - 1}+head").parameters
    assert level_of(blocks, along) == levels[count - 1]
    every = "unclear" if count > early else "input"
    assert level_of(blocks, blocks.select("all").parameters) == every
    assert level_of(blocks, ()) == "unclear"


@pytest.mark.parametrize("none", [(10, 10), (70, 71)])
def test_figure(none):
    frame = table(records(none=none), SIZES)
    figure = own_model_figure(frame, "block 1", "toy on colours", "a note")
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["block 1  ✓", "block 2", "last", "all"]
    texts = {text.get_text() for text in axes.texts}
    far = none == (10, 10)  # then an arrow points to it: a line would press the others together
    assert ("← no tuning 10.0" if far else "no tuning 70.5") in texts and "all 80.0" in texts
    low, high = axes.get_xlim()
    assert 10 < low < 51 and 83 < high < 100


@pytest.mark.parametrize("failed", ["all", "none", "last"])
def test_a_figure_without_one_of_the_results(failed):
    runs = [r for r in records() if r.settings["selection"] != failed]
    runs += [record(failed, 0, None, None)]
    figure = own_model_figure(table(runs, SIZES), "block 1", "toy on colours", "a note")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert not any("nan" in text.get_text() for text in axes.texts)
    low, high = axes.get_xlim()
    assert low < 60 and high > 82
