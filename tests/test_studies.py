"""Studies expand to runs, and the paper's name things that exist."""

from collections import Counter
from dataclasses import replace

import pytest

from surgicalft.models.recipe import Phase
from surgicalft.protocols import STUDIES, breeds, natural
from surgicalft.report.paper import PROTOCOLS
from surgicalft.runs import Run, check
from surgicalft.studies import Study
from surgicalft.transformer_studies import FEATURES, NATURAL, get_studies, study_runs

BASE = Run("glyphs-flip", "memo-resnet26-gn", "none", 0.0, epochs=7)
STUDY = Study(BASE, ("block 1", "last"), (1e-2, 1e-3), (0.5, 0.1, 0.05))
PAPER = {
    **{name: STUDIES[name](name) for name in ("living-17", "entity-30", "waterbirds", "celeba")},
    **{
        name: STUDIES["imagenet-c"](name)
        for name in ("imagenet-c/fog", "imagenet-c-generated/snow/3")
    },
    **{name: natural(name) for name in ("camelyon17", "fmow")},
}


def test_runs_of_a_study():
    runs = list(STUDY.runs((0, 3), n_tune=50))
    assert Counter((run.seed, run.selection) for run in runs) == {
        **dict.fromkeys([(0, "none"), (3, "none")], 1),
        **dict.fromkeys([(0, "block 1"), (3, "block 1")], 2),
        **dict.fromkeys([(0, "last"), (3, "last")], 3),
    }
    assert {run.n_tune for run in runs} == {50} and len(set(runs)) == len(runs)
    none = [run for run in runs if run.selection == "none"]
    assert all(run.epochs == 0 and run.learning_rate == 0 for run in none)
    assert {run.learning_rate for run in runs if run.selection == "last"} == {0.5, 0.1, 0.05}
    assert replace(STUDY, last_learning_rates=()).rates("last") == (1e-2, 1e-3)


def test_the_paper_s_epochs_are_kept_by_untuned_runs_too():
    assert all(run.epochs == 3 for run in STUDY.runs((0,), epochs=3) if run.selection != "none")


@pytest.mark.parametrize("name", sorted(PAPER))
def test_the_paper_s_recipes_name_what_exists(name):
    for run in PAPER[name].runs((0,)):
        check(run)


@pytest.mark.parametrize("table", [NATURAL, FEATURES], ids=["natural", "features"])
def test_transformers(table):
    for profile in table:
        for run in study_runs(get_studies(table, profile), (0,), epochs=1):
            check(run)
    with pytest.raises(ValueError, match=r"profile must be one of \['embedded'.*\], not 'huge'"):
        get_studies(table, "huge")


def test_recipes_are_those_of_the_appendix():
    stated = {"living-17": "Living-17", "waterbirds": "Waterbirds", "camelyon17": "Camelyon17"}
    for name, title in stated.items():
        study, protocol = PAPER[name], PROTOCOLS[title]
        assert study.base.n_tune == protocol.n_tune and study.base.epochs == protocol.epochs
        assert study.learning_rates == protocol.learning_rates
        assert study.base.weight_decay == (protocol.weight_decay or 0)
    head, rest = PAPER["living-17"].base.pretrain.phases()
    assert (head.selection, head.epochs) == ("last", 3) and (rest.selection, rest.epochs) == (
        "all",
        2,
    )
    assert PAPER["waterbirds"].base.pretrain.phases() == [Phase("all", 300, 1e-4)]
    assert PAPER["celeba"].base.pretrain.epochs == 50
    assert (PAPER["fmow"].base.optimizer, PAPER["fmow"].base.schedule) == ("sgd", "cosine")
    assert natural("fmow", optimizer="adamw").base.pretrain.learning_rate == 1e-5
    assert breeds("living-17", "clip-vit-b-16-grouped", "openai").base.pretrain.weights == "openai"
