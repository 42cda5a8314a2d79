"""Studies of test-time adaptation: other images choose than report, and everything of Table 9 is asked for."""

from dataclasses import replace
from itertools import pairwise

import pytest

from surgicalft.stream_studies import CIFAR_CORRUPTIONS, STREAM_STUDIES, get_stream_study
from surgicalft.testtime.runs import check

CHOSEN = [
    {
        "method": "memo",
        "mode": m,
        "selection": s,
        "learning_rate": 1e-4,
        "steps": 1,
        "weight_decay": 0.0,
    }
    for m in ("episodic", "online")
    for s in ("all", "first_layer", "last")
]


@pytest.mark.parametrize("name", STREAM_STUDIES)
def test_every_run_names_what_exists(name):
    study = get_stream_study(name)
    runs = study.unchanged() + study.first_round() + study.reports(CHOSEN)
    runs += study.curves(dict.fromkeys(study.curve_scenarios, CHOSEN))
    for run in runs:
        check(run)


@pytest.mark.parametrize("name", STREAM_STUDIES)
def test_images_that_choose_do_not_report(name):
    """Of one scenario, those that choose are the first, and those that report come behind them."""
    study = get_stream_study(name)
    for mode, choice in study.choices.items():
        first = choice.images
        for images in filter(None, (study.reporting, study.curve if mode == "online" else None)):
            apart = images.skip >= first.n_images and images.without == first.without
            sources = {scenario.split("/")[0] for scenario in images.scenarios}
            elsewhere = {"cifar10-lossless-c"} == sources and first.without == "cifar10-lossless"
            assert apart or elsewhere


def test_the_cifar_study_reports_table_9():
    study = get_stream_study("cifar")
    chosen = [
        {**CHOSEN[0], "mode": m, "selection": s}
        for m in ("episodic", "online")
        for s in study.selections
    ]
    runs = study.reports(chosen)
    assert len(runs) == len(set(runs)) == 10 * (1 + 2 * 5)
    assert {run.scenario.split("/")[1] for run in runs} == set(CIFAR_CORRUPTIONS)
    assert {(run.mode, run.optimizer) for run in runs if run.selection != "none"} == {
        ("episodic", "adamw"),
        ("online", "sgd"),
    }


def test_the_second_round_is_around_the_best_of_the_first():
    study = get_stream_study("cifar")
    first, second = study.first_round(), study.second_round(CHOSEN[:1])
    assert {r.learning_rate for r in first if r.mode == "episodic"} == {1e-2, 1e-3, 1e-4, 1e-5}
    assert {run.learning_rate for run in second} == {5e-5, 2e-4, 5e-4}
    assert not set(first) & set(second)
    assert {(run.mode, run.selection) for run in second} == {("episodic", "all")}


def test_what_has_rates_of_its_own_has_no_second_round():
    study = get_stream_study("cifar")
    online = [run for run in study.first_round() if run.mode == "online"]
    rates = {(r.method, r.selection): set() for r in online}
    for run in online:
        rates[run.method, run.selection].add(run.learning_rate)
    assert rates["memo", "block 1"] == {1e-4, 5e-4, 2e-3}
    assert rates["gala", "all"] == {5e-5}
    assert rates["tent", "norms"] == {1e-3, 1e-4, 1e-5}
    best = {**CHOSEN[0], "mode": "online", "selection": "block 1"}
    tent = {**best, "method": "tent", "selection": "norms"}
    assert study.second_round([best]) == []
    assert {run.learning_rate for run in study.second_round([tent])} == {5e-5, 2e-4, 5e-4}


def test_runs_that_share_a_first_step_stand_together():
    runs = [run for run in get_stream_study("cifar").first_round() if run.mode == "episodic"]
    streams = [run.scenario for run in runs]
    changes = sum(a != b for a, b in pairwise(streams))
    assert changes == len(set(streams)) - 1


def test_other_methods_are_chosen_on_the_same_images_and_with_their_own_optimisers():
    study = get_stream_study("cifar")
    found = {run.method: run for run in study.first_round()}
    assert (found["gala"].optimizer, found["gala"].selection) == ("sgd", "all")
    assert (found["tent"].optimizer, found["tent"].selection, found["tent"].batch_size) == (
        "adam",
        "norms",
        50,
    )
    assert {run.mode for run in study.first_round() if run.method != "memo"} == {"online"}
    paper = get_stream_study("paper").first_round()
    assert {(r.steps, r.weight_decay) for r in paper if r.method != "memo"} == {(1, 0.0)}
    assert len({(r.steps, r.weight_decay) for r in paper if r.method == "memo"}) == 8


def test_curves_take_the_settings_that_were_chosen_for_their_scenario():
    study = get_stream_study("cifar")
    fog = "cifar10-jpeg-c/fog"
    *none, everything, first = study.curves({fog: CHOSEN})
    assert {run.selection for run in none} == {"none"}
    assert [run.scenario for run in none] == list(study.curve_scenarios)
    assert first.learning_rate == 1e-4
    of_fog = next(run for run in none if run.scenario == fog)
    assert of_fog.precision == study.curve_precision
    assert everything == replace(
        of_fog, mode="online", selection="all", optimizer="sgd", learning_rate=1e-4
    )


def test_a_study_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="study must be one of"):
        get_stream_study("imagenett")
