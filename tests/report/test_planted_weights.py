"""Weights by tensor: sums, means, ranks and the control, from records made by hand."""

from dataclasses import replace

import pandas as pd
import pytest

from surgicalft.blocks import Blocks
from surgicalft.models.networks import build
from surgicalft.report.planted import UNDAMAGED
from surgicalft.report.planted_weights import block_weights, ranked_first, tensor_weights
from surgicalft.tensor_kinds import norm_tensors

NETWORK = build("resnet8-bn-w8", 10, 0)
BLOCKS = Blocks.of(NETWORK)
PRETRAIN = {"source": "glyphs", "model": "resnet8-bn-w8"}


@pytest.fixture
def run(record):
    """An Auto-RGN run of two epochs; `by_block` gives every tensor of a block its weight."""

    def make(by_block, damaged="", seed=0, norms=True, **settings):
        noise = {"block": damaged, "accuracy": 50.0, "where": "parameters", "seed": seed}
        more = {"planted": noise} if damaged else {}
        base = {"scenario": "glyphs-clean", "model": "resnet8-bn-w8", "selection": "all"}
        base |= {"pretrain": PRETRAIN, "method": "auto-rgn", "seed": seed}
        made = record(90.0, **base, **more, **settings)
        frozen = () if norms else norm_tensors(NETWORK)
        names = BLOCKS.select("all").parameters
        rates = [0.0 if n in frozen else by_block[BLOCKS.block_of(n)] for n in names]
        halves = [0.5 * rate for rate in rates]
        return replace(made, history=[{"rates": rates}, {"rates": halves}])

    return make


def weight(b1, b2, b3, last):
    return {"block 1": b1, "block 2": b2, "block 3": b3, "last": last}


def test_weights_are_summed_over_epochs(run):
    table = tensor_weights([run(weight(0.4, 0.2, 1.0, 0.8), "block 2")])
    assert list(table["tensor"]) == [name for name, _ in NETWORK.named_parameters()]
    assert list(table["position"]) == list(range(len(table)))
    assert set(table["damaged"]) == {"block 2"} and set(table["option"]) == {"auto-rgn"}
    own = table[table["block"] == "block 3"]
    assert (own["weight"] == 1.5).all() and (own["mean_weight"] == 0.75).all()


def test_of_several_rates_validation_chooses_one(run):
    low = replace(run(weight(1, 1, 1, 1), learning_rate=1e-4), valid_accuracy=10.0)
    table = tensor_weights([low, run(weight(0.5, 0.5, 0.5, 0.5), learning_rate=1e-3)])
    assert len(table) == len(BLOCKS.select("all").parameters)
    assert (table["learning_rate"] == 1e-3).all()


def test_ranks_and_lifts_against_the_undamaged_network(run):
    records = [
        run(weight(0.8, 0.4, 0.2, 0.1)),
        run(weight(0.8, 0.4, 0.4, 0.1), "block 3"),
        run(weight(0.8, 0.4, 0.2, 0.1), seed=1),
        run(weight(0.4, 0.4, 0.5, 0.1), "block 3", seed=1),
    ]
    weights = tensor_weights(records)
    (row,) = ranked_first(weights).to_dict("records")
    assert (row["damaged"], row["n"], row["weight"]) == (
        "block 3",
        2,
        pytest.approx(0.3375, abs=1e-3),
    )
    assert (row["rank"], row["first"]) == (pytest.approx((2.5 + 1) / 2), 50)
    assert (row["undamaged rank"], row["undamaged first"]) == (3, 0)
    assert row["lift"] == pytest.approx((2 + 2.5) / 2) and row["lift first"] == 100
    others = [0.75 * (0.4 - 1.3 / 3), 0.75 * (0.5 - 0.9 / 3)]
    assert row["difference"] == pytest.approx(sum(others) / 2, abs=1e-3)
    assert row["error"] == pytest.approx(abs(others[0] - others[1]) / 2, abs=1e-3)
    blocks = block_weights(weights)
    undamaged = blocks[blocks["damaged"] == UNDAMAGED]
    assert (undamaged["lift"] == 1).all() and len(blocks) == 16


def test_without_a_control_there_is_no_lift(run):
    (row,) = ranked_first(tensor_weights([run(weight(1, 0, 0.1, 0.1), "block 1")])).to_dict(
        "records"
    )
    assert row["first"] == 100 and pd.isna(row["lift"]) and pd.isna(row["undamaged first"])
    assert pd.isna(row["lift first"]) and pd.isna(row["error"])


def test_what_never_learns_counts_in_no_mean(run):
    record = run(weight(0.4, 0.2, 0.6, 0.8), "last", norms=False, variant="code")
    blocks = block_weights(tensor_weights([record])).set_index("block")
    assert blocks.loc["block 1", "weight"] == pytest.approx(0.75 * 0.4)
    assert blocks.loc["last", "rank"] == 1 and set(blocks["option"]) == {"auto-rgn code"}


def test_variants_have_controls_of_their_own(run):
    records = [
        run(weight(*[share] * 4), damaged, variant=variant)
        for damaged, variant, share in (
            *(("", "", 0.4), ("block 1", "", 0.8)),
            *(("", "code", 0.4), ("block 1", "code", 0.4)),
        )
    ]
    table = ranked_first(tensor_weights(records)).set_index("option")
    assert table.loc["auto-rgn", "lift"] == 2 and table.loc["auto-rgn code", "lift"] == 1


def test_weights_of_another_network(run):
    record = run(weight(1, 1, 1, 1))
    other = replace(
        record, settings=record.settings | {"model": "memo-resnet26-gn", "pretrain": None}
    )
    with pytest.raises(
        ValueError, match=r"weights of \[\d+\] tensors, but memo-resnet26-gn has 77"
    ):
        tensor_weights([other])


def test_without_auto_rgn(record):
    with pytest.raises(ValueError, match="no record of Auto-RGN"):
        tensor_weights([record(90.0)])
