"""Rules that choose among learning rates, and what they may look at."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from surgicalft.sweep.rules import RULES, candidates, choose
from surgicalft.sweep.store import Record


def record(rate: float, valid: float | None, test: float | None = None, **more: object) -> Record:
    settings = {"scenario": "glyphs-flip", "seed": 0, "learning_rate": rate}
    fields = {"valid_loss": 1.0} | more
    return Record(
        f"rate{rate}", settings, "finished", valid_accuracy=valid, test_accuracy=test, **fields
    )


class Blind(Record):
    """A record whose test metrics may not be looked at."""

    def __getattribute__(self, name: str) -> object:
        if name in ("test_accuracy", "n_test", "__dict__"):
            raise AssertionError(f"{name} was read")
        return super().__getattribute__(name)


def test_the_highest_validation_accuracy_is_chosen_whatever_the_test_says() -> None:
    records = [record(1e-4, 80.0, 99.0), record(1e-3, 90.0, 10.0), record(1e-2, 85.0, 50.0)]
    assert choose(records).settings["learning_rate"] == 1e-3
    assert choose(records, "oracle").settings["learning_rate"] == 1e-4


def test_ties_go_to_the_lower_loss_then_to_the_lower_rate() -> None:
    by_loss = [record(1e-4, 90.0, valid_loss=0.5), record(1e-3, 90.0, valid_loss=0.4)]
    assert choose(by_loss).settings["learning_rate"] == 1e-3
    by_rate = [record(r, 90.0, 70.0, valid_loss=0.5) for r in (1e-2, 1e-4, 1e-3)]
    assert choose(by_rate).settings["learning_rate"] == 1e-4
    assert choose(by_rate, "oracle").settings["learning_rate"] == 1e-4


def test_a_tie_without_a_loss_loses() -> None:
    for loss in (None, math.nan, math.inf):
        records = [record(1e-4, 90.0, valid_loss=loss), record(1e-3, 90.0, valid_loss=9.0)]
        assert choose(records).settings["learning_rate"] == 1e-3


def test_target_valid_never_reads_test_metrics() -> None:
    blind = [Blind(f"r{i}", {"learning_rate": i}, "finished", valid_accuracy=i) for i in range(3)]
    assert choose(blind, "target_valid").settings == {"learning_rate": 2}
    with pytest.raises(AssertionError, match="test_accuracy was read"):  # the trap works
        choose(blind, "oracle")


metrics = st.sampled_from([None, 0.0, 50.0, 90.0, math.nan])


@hypothesis_settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([50.0, 90.0]), metrics), min_size=1, max_size=5),
    st.randoms(),
)
def test_permuting_test_accuracies_changes_nothing(
    pairs: list[tuple[float, float | None]], rng: random.Random
) -> None:
    records = [record(10.0**-i, valid, test) for i, (valid, test) in enumerate(pairs)]
    shuffled = [r.test_accuracy for r in records]
    rng.shuffle(shuffled)
    permuted = [replace(r, test_accuracy=t) for r, t in zip(records, shuffled, strict=True)]
    assert choose(records).id == choose(permuted).id


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.lists(metrics, min_size=1, max_size=5), st.sampled_from(sorted(RULES)), st.randoms())
def test_the_order_of_records_changes_nothing(
    values: list[float | None], rule: str, rng: random.Random
) -> None:
    records = [record(10.0**-i, 50.0, 50.0) for i in range(2)]
    records += [record(10.0**-i, value, value) for i, value in enumerate(values, start=2)]
    shuffled = list(records)
    rng.shuffle(shuffled)
    assert choose(records, rule) == choose(shuffled, rule)


def test_failed_records_and_those_without_a_metric_are_left_out() -> None:
    failed = replace(record(1e-4, 99.0, 99.0), status="failed", error="DivergenceError: nan")
    records = [
        failed,
        record(1e-3, None),
        record(1e-2, math.nan, math.nan),
        record(1e-1, 10.0, 5.0),
    ]
    assert choose(records).settings["learning_rate"] == 1e-1
    assert choose(records, "oracle").settings["learning_rate"] == 1e-1
    with pytest.raises(ValueError, match=r"3 records: \['DivergenceError: nan', 'no metric for t"):
        choose(records[:3])


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="among 0 records"):
        choose([])


def test_records_that_differ_in_more_than_the_learning_rate() -> None:
    other = record(1e-3, 99.0)
    other = replace(other, settings=other.settings | {"seed": 1})
    with pytest.raises(ValueError, match=r"\['learning_rate'\] only.*differ in \['seed'\]"):
        choose([record(1e-3, 50.0), other])
    assert choose([record(1e-3, 50.0), other], varying=("learning_rate", "seed")) == other


def test_candidates_differ_in_the_learning_rate_only() -> None:
    base = [record(rate, 50.0) for rate in (1e-3, 1e-2)]
    more = [replace(r, settings=r.settings | {"seed": 1}) for r in base]
    assert candidates([base[0], more[0], base[1], more[1]]) == [base, more]


def test_an_unknown_rule_is_told_the_legal_ones() -> None:
    with pytest.raises(ValueError, match=r"target_valid.*oracle.*'best'"):
        choose([record(1e-3, 50.0)], "best")
