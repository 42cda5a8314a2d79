"""Runs inside a run: what they find, and at which price."""

import math
from functools import partial
from itertools import pairwise

import pytest
import small
from small import small_splits

from surgicalft.blocks import Blocks
from surgicalft.cost import Meter, costs_of
from surgicalft.finetune import Diverged, FineTune, fine_tune
from surgicalft.memory import Memory
from surgicalft.searches import SEARCHES, Arena, search
from surgicalft.searches.base import Candidate
from surgicalft.searches.halving import halving

RATES, LAST_RATES = (1e-2, 1e-3), (1e-1, 1e-2)
HOW = FineTune(0.0, epochs=8, batch_size=16)


@pytest.fixture(scope="module")
def splits():
    return small_splits()


network = partial(small.network, "group")


def arena(splits, rates=RATES, last_rates=LAST_RATES, settings=HOW):
    model = network()
    meter = Meter(costs_of(network(), splits.tune.images))
    return Arena(model, Blocks.of(model), splits, settings, rates, last_rates, Memory(), meter)


def alone(splits, selection, rate, epochs=8):
    """The same run by itself."""
    model = network()
    costs = costs_of(network(), splits.tune.images)
    how = FineTune(rate, epochs=epochs, batch_size=16)
    return fine_tune(model, Blocks.of(model).select(selection), splits, how, costs=costs)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_winner_is_the_run_it_says_it_is(splits, name):
    found = search(SEARCHES[name], arena(splits))
    rows = [row for row in found.history if row.get("valid_accuracy") == found.valid_accuracy]
    same = [alone(splits, row["selection"], row["learning_rate"]) for row in rows]
    assert found.test_accuracy in [run.test_accuracy for run in same]
    assert found.valid_loss in [run.valid_loss for run in same]


def test_halving_keeps_the_better_half_and_goes_on_where_it_stopped(splits):
    found = search(halving, arena(splits))
    rounds = [[row for row in found.history if row["round"] == r] for r in range(4)]
    assert [len(rows) for rows in rounds] == [8, 4, 2, 1]
    assert [{row["epochs"] for row in rows} for rows in rounds] == [{1}, {2}, {4}, {8}]
    for before, after in pairwise(rounds):
        ranked = sorted(before, key=lambda row: row["lowest_loss"])
        names = [(row["selection"], row["learning_rate"]) for row in ranked[: len(after)]]
        assert [(row["selection"], row["learning_rate"]) for row in after] == names


FRONT = {
    "block 1": [],
    "block 2": ["conv1", "layer1"],
    "block 3": ["conv1", "layer1", "layer2"],
    "last": ["conv1", "layer1", "layer2", "layer3"],
}


def test_a_search_costs_its_epochs_and_each_prefix_once(splits):
    costs = costs_of(network(), splits.tune.images)
    found = search(halving, arena(splits))
    done = {(row["selection"], row["learning_rate"]): row["epochs"] for row in found.history}
    expected = 0.0
    for block in Blocks.of(network()):
        rates = LAST_RATES if block == "last" else RATES
        epochs = [done[block, rate] for rate in rates]
        runs = [alone(splits, block, r, e) for r, e in zip(rates, epochs, strict=True)]
        expected += sum(run.metrics["forward_passes"] for run in runs)
        expected -= (40 + 24) * costs.inside(FRONT[block])
    assert found.metrics["forward_passes"] == pytest.approx(expected)


def pairs():
    return [(s, r) for s in ("block 1", "block 2", "block 3") for r in RATES] + [
        ("last", r) for r in LAST_RATES
    ]


def test_greedy_starts_with_cross_validation_and_stops_where_nothing_is_gained(splits):
    found = search(SEARCHES["greedy"], arena(splits))
    first = [row for row in found.history if row["round"] == 0]
    assert [(row["selection"], row["learning_rate"]) for row in first] == pairs()
    best = [
        max(r["valid_accuracy"] for r in found.history if r["round"] == k)
        for k in range(1 + found.history[-1]["round"])
    ]
    assert all(a < b for a, b in pairwise(best[:-1]))
    assert len(best) == 4 or best[-1] <= best[-2]
    assert found.valid_accuracy == max(best)


def test_a_candidate_that_diverges_loses(splits):
    rates = (1e-2, 1e30)
    found = search(halving, arena(splits, rates, rates))
    diverged = [row for row in found.history if "valid_accuracy" not in row]
    assert diverged and all(row["learning_rate"] == 1e30 for row in diverged)
    assert math.isfinite(found.valid_loss)


def test_where_every_candidate_diverges_the_run_does(splits):
    with pytest.raises(Diverged, match=r"diverged for every candidate: \[\('block 1', 1e\+30\)"):
        search(SEARCHES["greedy"], arena(splits, (1e30,), (1e30,)))


def test_a_candidate_gives_its_score_of_the_best_epoch(splits):
    (candidate, _) = arena(splits).candidates("last")
    assert isinstance(candidate, Candidate) and candidate.score == (-math.inf, -math.inf)
    candidate.go(3)
    run = alone(splits, "last", LAST_RATES[0], epochs=3)
    assert candidate.score == pytest.approx((run.valid_accuracy, -run.valid_loss))  # another format


def test_what_makes_no_sense_is_refused(splits):
    for rates in ((), (0.0,), (-1.0, 1e-3)):
        with pytest.raises(ValueError, match="positive learning rates"):
            arena(splits, rates)
    with pytest.raises(ValueError, match="at least one epoch, not 0"):
        arena(splits, settings=FineTune(0.0, epochs=0))
