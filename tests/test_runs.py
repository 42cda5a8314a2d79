"""Runs end to end on tiny data: settings checked first, records complete, failures recorded."""

import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from surgicalft.executor import Executor
from surgicalft.models.recipe import Pretrain
from surgicalft.profiles import PROFILES, get_profile, image_count_runs, which_block_runs
from surgicalft.runs import Run, check
from surgicalft.settings import as_dict, identity
from surgicalft.shifts.parameter_noise import Planted
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store

PRETRAIN = Pretrain("glyphs", "resnet8-bn-w8", epochs=1, augment="none", learning_rate=0.05)
RUN = Run(
    "glyphs-flip", PRETRAIN.model, "last", 1e-2, n_tune=50, n_valid=20, epochs=2, pretrain=PRETRAIN
)


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURGICALFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Executor(progress=False)


def test_a_sweep_leaves_complete_records_and_is_never_repeated(executor, tmp_path):
    runs = [replace(RUN, selection=name) for name in ("none", "block 1", "last", "all")]
    with Store(tmp_path / "runs.sqlite") as store:
        records = run_all(runs, store, executor, jobs=2, progress=False, prepare=executor.prepare)
        assert [record.settings["selection"] for record in records] == [
            "none",
            "block 1",
            "last",
            "all",
        ]
        for record in records:
            assert record.status == "finished", record.error
            assert record.n_test == 3000 - 70 and 0 <= record.test_accuracy <= 100
            assert record.provenance == "embedded" and record.versions["torch"]
            assert record.settings["pretrain"]["source"] == "glyphs"

        def never(run):
            raise AssertionError("computed again")

        assert run_all(runs, store, never, progress=False) == records


def test_results_do_not_depend_on_the_number_of_jobs(executor, tmp_path):
    runs = [replace(RUN, selection=name) for name in ("block 2", "last", "all")]
    found = []
    for jobs in (1, 2):
        with Store(tmp_path / f"{jobs}.sqlite") as store:
            found.append(
                run_all(runs, store, executor, jobs, progress=False, prepare=executor.prepare)
            )
    for one, two in zip(*found, strict=True):
        assert one.history == two.history and one.test_accuracy == two.test_accuracy


def test_divergence_is_a_failed_record(executor, tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        wild = replace(RUN, selection="all", learning_rate=1e30)
        failed, fine = run_all(
            [wild, RUN], store, executor, progress=False, prepare=executor.prepare
        )
    assert failed.status == "failed" and "Diverged" in failed.error and failed.history
    assert fine.status == "finished"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"selection": "block 7"}, r"unknown selection 'block 7'.*legal: \['block 1'"),
        ({"scenario": "glyphs-x"}, "unknown scenario 'glyphs-x'"),
        (
            {"scenario": "cifar10-flip"},
            "departs from source 'cifar10', but the model is trained on",
        ),
        ({"pretrain": replace(PRETRAIN, weights="openai")}, "weights must be one of"),
        (
            {"model": "memo-resnet26-gn", "pretrain": None, "selection": "block 9"},
            "unknown selection 'block 9'",
        ),
        ({"model": "memo", "pretrain": None}, r"model must be one of \['memo-resnet26-gn'"),
        (
            {"scenario": "glyphs-clean", "planted": Planted("block 7", 50.0)},
            "planted block must be one of",
        ),
    ],
)
def test_mistakes_show_before_anything_is_computed(executor, tmp_path, change, message):
    with Store(tmp_path / "runs.sqlite") as store:
        with pytest.raises(ValueError, match=message):
            run_all([RUN, replace(RUN, **change)], store, executor, prepare=executor.prepare)
        assert len(store) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "method must be one of"),
        ({"method": "auto-rgn", "variant": "text"}, "variant of AutoRGN must be one of"),
        ({"strength": 0.1}, "Surgical takes no strength"),
        ({"method": "halving", "selection": "all"}, "takes selection 'all', learning_rate 0"),
        ({"method": "lora", "strength": 0.5}, "strength of lora is its rank, a whole number"),
        ({"method": "lora", "strength": 0.0}, "from 1 on, not 0"),
        ({"method": "lora", "variant": "code"}, "variant of lora must be one of"),
        ({"test": "some"}, "test must be one of"),
        ({"norm": "batch"}, "norm must be one of"),
        ({"model": "resnet14-bn"}, "model is 'resnet14-bn', but pretrain trains"),
    ],
)
def test_illegal_settings(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RUN, **change)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_profiles_name_things_that_exist(name):
    profile = get_profile(name)
    runs = which_block_runs(profile) + image_count_runs(profile)
    if name == "paper" and not find_spec("robustbench"):  # its source model needs the extra
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'surgicalft\[robustbench\]'"):
            check(runs[0])
        return
    for run in runs:
        check(run)
    options = 5 * len(profile.learning_rates) + 1
    assert len(which_block_runs(profile)) == len(profile.scenarios) * len(profile.seeds) * options


def test_unknown_profile():
    with pytest.raises(ValueError, match=r"profile must be one of \['embedded'"):
        get_profile("huge")


def test_a_transformer_of_timm_is_checked_too():
    pretrain = replace(PRETRAIN, model="timm/vit_tiny_patch16_224")
    run = replace(RUN, model=pretrain.model, pretrain=pretrain, selection="block 12")
    check(run)
    with pytest.raises(ValueError, match="unknown selection 'block 13'"):
        check(replace(run, selection="block 13"))


def test_settings_that_came_later_leave_identities_alone():
    """Else every store would lose its runs."""
    assert identity(RUN) == identity(
        replace(RUN, variant="", strength=None, rates=(), planted=None)
    )
    assert identity(RUN) != identity(replace(RUN, method="l1-sp", strength=1e-3))
    assert "strength" not in as_dict(RUN) and "planted" not in as_dict(RUN)


def test_methods_and_searches_leave_records_with_their_cost(executor, tmp_path):
    runs = [
        replace(RUN, selection="all", method="gradual-last-first"),
        replace(RUN, selection="all", method="l1-sp", strength=1e-4),
        replace(RUN, selection="all", method="halving", learning_rate=0.0, rates=(1e-2, 1e-3)),
    ]
    with Store(tmp_path / "runs.sqlite") as store:
        gradual, l1, halving = run_all(
            runs, store, executor, jobs=2, progress=False, prepare=executor.prepare
        )
        again = store.get(halving.id)
    for record in (gradual, l1, halving):
        assert record.status == "finished", record.error
        assert record.metrics["forward_passes"] > 0
    assert 0.0 in gradual.history[0]["rates"] and "rates" not in l1.history[0]
    assert again == halving and halving.history[-1]["round"] == 3


def test_noise_is_planted_once_and_recorded(executor, tmp_path):
    trained = replace(PRETRAIN, epochs=3, batch_size=64, learning_rate=0.1)  # far above chance
    clean = replace(
        RUN,
        scenario="glyphs-clean",
        selection="none",
        learning_rate=0.0,
        epochs=0,
        pretrain=trained,
    )
    hurt = replace(clean, planted=Planted("block 2", 20.0))
    with Store(tmp_path / "runs.sqlite") as store:
        before, after = run_all(
            [clean, hurt], store, executor, progress=False, prepare=executor.prepare
        )
    assert abs(after.metrics["planted_accuracy"] - 20) <= 1
    assert after.metrics["planted_scale"] > 0 and "planted_scale" not in before.metrics
    assert after.test_accuracy < before.test_accuracy
    assert after.settings["planted"] == {
        **{"block": "block 2", "accuracy": 20.0, "where": "parameters", "seed": 0}
    }
    assert executor._start(clean).network is not executor._start(hurt).network


def test_lora_is_a_method_whose_strength_is_its_rank(executor):
    pytest.importorskip("peft", reason="needs the extra lora")
    run = replace(RUN, selection="all", method="lora", strength=2.0)
    found, again = executor(run), executor(run)
    assert found["test_accuracy"] == again["test_accuracy"] and found["history"] == again["history"]
    full = executor(replace(run, method="surgical", strength=None))
    assert 0 < found["metrics"]["forward_passes"] < 1.5 * full["metrics"]["forward_passes"]
    assert executor(replace(run, strength=None))["history"] != found["history"]


def test_lora_without_its_extra(executor, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'surgicalft\[lora\]'"):
        executor.prepare([replace(RUN, method="lora")])
