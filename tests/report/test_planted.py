"""Tables of planted damage, from records made by hand."""

import math
from dataclasses import replace

import pytest

from surgicalft.report.markdown import markdown
from surgicalft.report.paper import published
from surgicalft.report.planted import comparisons, damage_table, flat, repair_table

TESTS = {"block 1": 80.0, "block 2": 70.0, "last": 60.0, "all": 75.0, "none": 50.0}


@pytest.fixture
def planted_record(record):
    """A record of a run on a network with noise in `block`, of the run's seed."""

    def make(test, block="block 1", seed=0, method="surgical", scale=0.5, **settings):
        noise = {"block": block, "accuracy": 50.0, "where": "parameters", "seed": seed}
        more = {"planted": noise} if block else {}
        base = {"scenario": "cifar10-jpeg-clean", "model": "resnet26-bn", "seed": seed}
        made = record(test, **{**base, **settings}, method=method, **more)
        return replace(made, metrics={"planted_scale": scale, "planted_accuracy": 49.0})

    return make


@pytest.fixture
def records(planted_record):
    """Two seeds, of which the second is better by 2; block 1 is damaged; one undamaged run."""
    found = [
        planted_record(
            value + 2 * seed, seed=seed, selection=name, epochs=0 if name == "none" else 15
        )
        for name, value in TESTS.items()
        for seed in (0, 1)
    ]
    for seed in (0, 1):
        found.append(planted_record(79.0 + seed, seed=seed, selection="all", method="auto-rgn"))
        found.append(planted_record(90.0, block="", seed=seed, selection="none", epochs=0))
    return found


def one(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_a_row_per_damage_and_option_in_the_networks_order(records):
    table = repair_table(reversed(records))
    rows = list(zip(table["damaged"], table["selection"], strict=True))
    names = ("block 1", "block 2", "last", "all", "none", "auto-rgn")
    assert rows == [("none", "none"), *(("block 1", name) for name in names)]
    row = one(table, selection="block 1")
    assert row["mean"] == 81 and row["standard_error"] == pytest.approx(1)
    assert row["n"] == 2 and row["seeds"] == (0, 1)


def test_table_5_stands_beside(records):
    table = repair_table(records)
    row = one(table, selection="all")
    assert (row["paper"], row["paper_error"]) == (87.8, 1.2)
    assert one(table, selection="auto-rgn")["paper"] == published(5, "Block 1", "Auto-RGN").value
    assert math.isnan(one(table, selection="block 1")["paper"])
    embedded = [replace(r, settings=r.settings | {"scenario": "glyphs-clean"}) for r in records]
    assert repair_table(embedded)["paper"].isna().all()


def test_variants_are_options_of_their_own(planted_record, records):
    more = [
        planted_record(70.0, seed=s, selection="all", method="auto-rgn", variant="code")
        for s in (0, 1)
    ]
    table = repair_table(records + more)
    assert one(table, selection="auto-rgn code")["mean"] == 70
    assert one(table, selection="auto-rgn")["mean"] == 79.5
    row = one(comparisons(records + more), question="auto-rgn code against all")
    assert (row["a"], row["difference"], row["paper"]) == ("auto-rgn code", -6, pytest.approx(4.2))


def test_other_methods_are_left_out(planted_record, records):
    other = planted_record(99.0, selection="all", method="l1-sp", strength=1e-3)
    assert repair_table([*records, other]).equals(repair_table(records))


def test_the_rate_is_chosen_by_validation(planted_record):
    low, high = (
        planted_record(test, valid=valid, selection="all", learning_rate=rate)
        for test, valid, rate in ((60.0, 90.0, 1e-3), (80.0, 50.0, 1e-4))
    )
    assert one(repair_table([low, high]), selection="all")["mean"] == 60
    assert one(repair_table([low, high], "oracle"), selection="all")["mean"] == 80


def test_damage(records):
    table = damage_table(records)
    assert list(table["damaged"]) == ["none", "none", "block 1", "block 1"]
    row = one(table, damaged="block 1", seed=1)
    assert (row["scale"], row["left"], row["accuracy"]) == (0.5, 49.0, 52.0)
    assert row["error"] == pytest.approx(math.sqrt(52 * 48 / 900))
    assert "| 52.0 ± 1.7 |" in markdown(table, {})


def test_comparisons_are_paired_by_seed(records):
    table = comparisons(records)
    whole = one(table, question="the damaged block against all")
    assert (whole["a"], whole["b"], whole["difference"], whole["n"]) == ("block 1", "all", 5, 2)
    binomial = math.sqrt((80 * 20 + 75 * 25 + 82 * 18 + 77 * 23) / 2 / 900)
    assert whole["error"] == pytest.approx(binomial), "the seeds agree: the test split decides"
    assert whole["z"] == pytest.approx(5 / binomial) and whole["winner"] == "block 1"
    other = one(table, question="the damaged block against the best other block")
    assert (other["b"], other["difference"], other["winner"]) == ("block 2", 10, "block 1")
    auto = one(table, question="auto-rgn against all")
    assert auto["difference"] == 3.5 and auto["paper"] == pytest.approx(92.0 - 87.8)
    assert auto["winner"] == "level" and auto["paper_error"] == pytest.approx(math.hypot(0.4, 1.2))
    assert one(table, question="auto-rgn against the damaged block")["difference"] == -1.5


def test_the_loser_is_named_too(planted_record):
    records = [
        planted_record(value, selection=name, n_test=10_000)
        for name, value in {"block 1": 60.0, "block 2": 70.0, "all": 90.0}.items()
    ]
    table = comparisons(records)
    assert list(table["winner"]) == ["all", "block 2"]
    assert (table["z"] < -10).all()


def test_noise_and_run_share_a_seed(planted_record):
    record = planted_record(80.0, seed=1)
    record.settings["seed"] = 0
    with pytest.raises(ValueError, match="noise of seed 1 in a run of seed 0"):
        flat([record])


def test_an_option_that_is_missing(planted_record):
    with pytest.raises(ValueError, match=r"selection must be one of .*, not 'all'"):
        comparisons([planted_record(80.0), planted_record(70.0, selection="block 2")])
