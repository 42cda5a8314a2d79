"""The grids behind the tables of methods."""

import pytest

from surgicalft.method_studies import ENTRIES, METHOD_STUDIES, get_method_study
from surgicalft.runs import check
from surgicalft.settings import identity


@pytest.mark.parametrize("entries", ENTRIES)
@pytest.mark.parametrize("profile", ["embedded", "cifar"])
def test_every_run_exists_and_is_there_once(profile, entries):
    runs = get_method_study(profile).runs(entries)
    for run in runs:
        check(run)
    assert len({identity(run) for run in runs}) == len(runs)


def test_methods_get_the_rates_of_full_tuning():
    runs = get_method_study("embedded").runs("all", seeds=(0,))
    rates = {}
    for run in runs:
        if run.selection == "all" and not run.rates:
            rates.setdefault((run.method, run.variant, run.strength), set()).add(run.learning_rate)
    assert len(rates) > 9 and len(set(map(frozenset, rates.values()))) == 1


def test_a_search_gets_all_rates_in_one_run():
    study = get_method_study("embedded")
    found = [run for run in study.runs("all", seeds=(0,)) if run.method == "halving"]
    assert [run.scenario for run in found] == list(study.scenarios)
    assert found[0].rates == study.profile.learning_rates
    assert found[0].last_rates == study.profile.last_learning_rates


def test_a_published_model_takes_the_place_of_our_own():
    runs = get_method_study("cifar").runs(seeds=(0,), model="memo-resnet26-gn")
    assert {run.model for run in runs} == {"memo-resnet26-gn"}
    assert {run.pretrain for run in runs} == {None}


def test_design_scenarios_are_among_those_compared():
    for study in METHOD_STUDIES.values():
        assert set(study.design) <= set(study.scenarios)


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="profile must be one of"):
        get_method_study("huge")
    with pytest.raises(ValueError, match="entries must be one of"):
        get_method_study("embedded").runs("some")
