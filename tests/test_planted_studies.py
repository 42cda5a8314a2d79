"""Studies of planted shifts: the runs there are, that they are legal, and that the damaged block repairs itself."""

from collections import Counter

import pytest

from surgicalft.executor import Executor
from surgicalft.planted_studies import AUTO, DAMAGED, PLANTED_STUDIES, get_planted_study
from surgicalft.report.planted import comparisons, damage_table, repair_table
from surgicalft.report.planted_weights import ranked_first, tensor_weights
from surgicalft.runs import check
from surgicalft.settings import identity
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store


@pytest.mark.parametrize("name", PLANTED_STUDIES)
def test_every_run_is_legal_and_there_once(name):
    study = get_planted_study(name)
    runs = study.runs()
    assert len({identity(run) for run in runs}) == len(runs)
    for run in runs:
        assert run.planted is None or run.planted.seed == run.seed
        assert run.planted is None or run.planted.accuracy == study.level
        check(run)


def test_each_block_is_damaged_and_all_options_are_tried():
    study = get_planted_study("embedded")
    runs = [run for run in study.runs(seeds=(3,))]
    damaged = Counter(run.planted.block for run in runs if run.planted)
    assert set(damaged) == set(DAMAGED) and len(set(damaged.values())) == 1
    here = [run for run in runs if run.planted and run.planted.block == "last"]
    tried = {run.selection if run.method == "surgical" else run.method for run in here}
    assert tried == {"none", *DAMAGED, "all", AUTO}
    control = [run for run in runs if run.planted is None]
    assert {(run.method, run.selection) for run in control} == {("surgical", "none"), (AUTO, "all")}
    assert {run.seed for run in runs} == {3}


def test_published_networks_and_other_settings():
    runs = get_planted_study("cifar").runs(where="activations", n_tune=50)
    assert {run.model for run in runs} == {"resnet26-bn", "memo-resnet26-gn"}
    assert {run.pretrain is None for run in runs if run.model == "memo-resnet26-gn"} == {True}
    assert {run.n_tune for run in runs} == {50}
    assert {run.planted.where for run in runs if run.planted} == {"activations"}
    assert {run.epochs for run in runs if run.selection == "none"} == {0}


def test_unknown_profile():
    with pytest.raises(
        ValueError, match=r"profile must be one of \['embedded', .*, not 'imagenet'"
    ):
        get_planted_study("imagenet")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["parameters", "activations"])
def test_damage_is_repaired_where_it_is(where, tmp_path):
    """The report's functions on real records: the last layer, damaged, is best repaired by itself."""
    study = get_planted_study("embedded")
    runs = [r for r in study.runs((0,), where) if not r.planted or r.planted.block == "last"]
    executor = Executor(progress=False)
    with Store(tmp_path / "runs.sqlite") as store:
        records = run_all(runs, store, executor, 2, progress=False, prepare=executor.prepare)
    damage = damage_table(records).set_index("damaged")
    assert damage.loc["none", "accuracy"] > 95 and 35 < damage.loc["last", "accuracy"] < 65
    table = repair_table(records).set_index(["damaged", "selection"])["mean"]["last"]
    assert table["last"] > table["none"] + 20
    assert table["last"] == table[list(DAMAGED)].max()
    assert set(comparisons(records)["damaged"]) == {"last"}
    (row,) = ranked_first(tensor_weights(records)).to_dict("records")
    assert 1 <= row["rank"] <= 4 and 0 <= row["weight"] <= 1
