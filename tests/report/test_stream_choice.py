"""Settings are chosen by the mean over scenarios, and the table says how flat the grid is."""

import math

import pytest
from stream_records import adapted

from surgicalft.report.stream_choice import choose_for_each, choose_settings

FOG, SNOW = "glyphs-c/fog", "glyphs-c/snow"


def tried(fog, snow, rate, selection="all", **more):
    """Runs of one setting on two scenarios; None: it failed, "": it is not there."""
    texts = {FOG: fog, SNOW: snow}
    return [
        adapted(text, selection, scenario=scenario, learning_rate=rate, **more)
        for scenario, text in texts.items()
        if text != ""
    ]


def test_the_best_mean_over_scenarios_is_chosen():
    records = [
        *tried("1111", "0000", 1e-3),
        *tried("1110", "1100", 1e-4),
        *tried("1100", "1100", 1e-5),
    ]
    (chosen,), grid = choose_settings(records)
    assert chosen == {
        **{"method": "memo", "mode": "online", "selection": "all", "model": "resnet8-bn-w8"},
        **{"learning_rate": 1e-4, "steps": 1, "weight_decay": 0.0, "optimizer": "sgd"},
    }
    assert list(grid["learning_rate"]) == [1e-4, 1e-5, 1e-3]
    assert list(grid["accuracy"]) == pytest.approx([62.5, 50, 50])
    assert list(grid["chosen"]) == [True, False, False] and list(grid["edge"]) == ["", "", ""]
    assert list(grid["behind"]) == pytest.approx([0, -12.5, -12.5])
    # Means over both scenarios, image by image: 100 100 50 0 of the best, 100 100 0 0 and four times 50 of the others.
    assert grid["error"][0] == pytest.approx(math.sqrt(6875 / 3 / 4))
    assert grid["behind_error"][1] == pytest.approx(math.sqrt((3 * 12.5**2 + 37.5**2) / 3 / 4))
    assert grid["behind_error"][2] == pytest.approx(
        math.sqrt((2 * 37.5**2 + 12.5**2 + 62.5**2) / 12)
    )


@pytest.mark.parametrize("gap", [None, ""])
def test_a_setting_that_lacks_a_scenario_is_not_eligible(gap):
    records = [*tried("1111", gap, 1e-3), *tried("1000", "1000", 1e-4)]
    (chosen,), grid = choose_settings(records)
    assert chosen["learning_rate"] == 1e-4
    assert list(grid["eligible"]) == [True, False]
    assert list(grid["n_failed"]) == [0, int(gap is None)]
    assert math.isnan(grid["accuracy"][1]) and math.isnan(grid["behind"][1])


def test_each_scenario_alone_may_choose_another_setting():
    records = [*tried("1111", "0000", 1e-3), *tried("1110", "1100", 1e-4)]
    found = choose_for_each([*records, adapted("1111", "none", scenario="x")], [FOG, SNOW, "x"])
    assert {name: [best["learning_rate"] for best in own] for name, own in found.items()} == {
        FOG: [1e-3],
        SNOW: [1e-4],
    }


def test_modes_may_be_chosen_on_different_scenarios():
    fog = [adapted("10", mode="episodic", scenario=FOG, optimizer="adamw")]
    chosen, _ = choose_settings([*fog, *tried("11", "11", 1e-3)])
    assert [(best["mode"], best["learning_rate"]) for best in chosen] == [
        ("episodic", 1e-3),
        ("online", 1e-3),
    ]


def test_a_scenario_that_only_another_selection_has_is_missing_too():
    records = [*tried("11", "", 1e-3), *tried("11", "11", 1e-3, "last")]
    with pytest.raises(ValueError, match="no setting of Online All finished on all of"):
        choose_settings(records)


def test_of_equals_the_smaller_step_is_chosen():
    same = ("1100", "1100")
    records = [
        *tried(*same, 1e-3),
        *tried(*same, 1e-4, steps=2),
        *tried(*same, 1e-4, weight_decay=0.1),
        *tried(*same, 1e-4),
    ]
    (chosen,), grid = choose_settings(records[::-1])
    assert (chosen["learning_rate"], chosen["steps"], chosen["weight_decay"]) == (1e-4, 1, 0.0)
    assert list(zip(grid["learning_rate"], grid["steps"], grid["weight_decay"], strict=True)) == [
        *((1e-4, 1, 0.0), (1e-4, 1, 0.1), (1e-4, 2, 0.0), (1e-3, 1, 0.0)),
    ]
    assert list(grid["behind_error"]) == [0] * 4


@pytest.mark.parametrize(
    ("best", "edge"),
    [
        ({"rate": 1e-3}, "learning rate (largest)"),
        ({"rate": 1e-5}, "learning rate (smallest)"),
        ({"rate": 1e-4}, ""),
        ({"rate": 1e-4, "steps": 2}, "steps (largest)"),
        ({"rate": 1e-3, "weight_decay": 0.1}, "learning rate (largest), weight decay (largest)"),
    ],
)
def test_the_edge_of_the_grid_is_told(best, edge):
    """One step and no decay are no edge: less can't be tried."""
    grid = [{"rate": 1e-3}, {"rate": 1e-4}, {"rate": 1e-5}]
    grid += [{"rate": 1e-4, "steps": 2}, {"rate": 1e-3, "weight_decay": 0.1}]
    records = [r for it in grid for r in tried(*(["11" if it == best else "10"] * 2), **it)]
    _, table = choose_settings(records)
    assert table["edge"][0] == edge and not table["edge"][1:].any()


def test_each_selection_mode_method_and_model_has_its_own():
    records = [
        *tried("10", "10", 1e-3, "last", mode="episodic"),
        *tried("10", "10", 1e-4, "norms", method="tent", optimizer="adam"),
        *tried("10", "10", 1e-5, "all"),
        *tried("10", "10", 1e-5, "all", model="resnet14-bn"),
        *tried("11", "11", 0.0, "none"),
    ]
    chosen, grid = choose_settings(records)
    assert [(c["model"], c["method"], c["mode"], c["selection"]) for c in chosen] == [
        ("resnet14-bn", "memo", "online", "all"),
        ("resnet8-bn-w8", "memo", "episodic", "last"),
        ("resnet8-bn-w8", "memo", "online", "all"),
        ("resnet8-bn-w8", "tent", "online", "norms"),
    ]
    assert list(grid["name"]) == [
        "Online All",
        "Episodic Last",
        "Online All",
        "Online TENT (norms)",
    ]


def test_seeds_are_averaged():
    records = [
        *tried("1111", "1111", 1e-3, seed=0) + tried("0000", "0000", 1e-3, seed=1),
        *tried("1110", "1100", 1e-4, seed=0) + tried("1100", "1100", 1e-4, seed=1),
    ]
    (chosen,), grid = choose_settings(records)
    assert chosen["learning_rate"] == 1e-4
    assert list(grid["accuracy"]) == pytest.approx([56.25, 50])
    assert grid["error"][1] == pytest.approx(50)  # over seeds: 100 and 0


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "no records of adaptation"),
        (tried("1", "1", 0.0, "none"), "no records of adaptation"),
        (tried(None, None, 1e-3), "no setting of Online All finished"),
        (tried("1", "1", 1e-3) + tried("1", "1", 1e-4, skip=100), r"different images.*'skip'"),
        (tried("1", "1", 1e-3) + tried("1", "1", 1e-4, prior=16), r"can't be compared.*'prior'"),
        (tried("1", "11", 1e-3), "must be of one length"),
    ],
)
def test_what_nothing_can_be_chosen_from(records, message):
    with pytest.raises(ValueError, match=message):
        choose_settings(records)
