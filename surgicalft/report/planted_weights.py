"""The weights that Auto-RGN gives to tensors of a damaged network (Figure 6), and whether they point to the damage.

A tensor's weight is its share of the learning rate, 0 to 1, added up over the epochs. Blocks are compared by their mean
weight per tensor, of those that ever learn (the authors' code leaves normalisations out). Some block is ranked first
in a network without any damage too, so that one is the control: `lift` is a block's mean weight relative to its mean
weight there, for the same model, variant and seed.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from surgicalft.blocks import Blocks
from surgicalft.models.networks import build
from surgicalft.models.zoo import PUBLISHED
from surgicalft.report.planted import AUTO, UNDAMAGED, flat, in_order
from surgicalft.sweep.record import Record
from surgicalft.sweep.rules import candidates, choose

_CASE = ["model", "option", "damaged", "seed"]


def tensor_weights(records: Iterable[Record], rule: str = "target_valid") -> pd.DataFrame:
    """One row per model, variant, damaged block, seed and tensor of Auto-RGN's run at the rate that `rule` chooses.

    `option` is the variant; `weight` is the sum over the epochs, `mean_weight` that divided by their number, `position`
    the tensor's place in the network from 0. Raises ValueError where there is no such run, or one tells weights of
    other tensors.
    """
    own = [r for r in flat(records) if r.settings["selection"].startswith(AUTO)]
    if not own:
        raise ValueError("no record of Auto-RGN among those given")
    rows = [row for group in candidates(own) for row in _rows(choose(group, rule))]
    return in_order(pd.DataFrame(rows))


def _rows(record: Record) -> list[dict[str, Any]]:
    settings = record.settings
    blocks = _blocks(settings["model"], settings["pretrain"] is None)
    names = blocks.select("all").parameters
    rates = [epoch["rates"] for epoch in record.history]
    if {len(epoch) for epoch in rates} != {len(names)}:
        raise ValueError(
            f"record {record.id} gives weights of {sorted({len(epoch) for epoch in rates})} tensors, but "
            f"{settings['model']} has {len(names)}"
        )
    case = {
        name: settings[name] for name in ("model", "damaged", "seed", "scenario", "learning_rate")
    }
    case["option"] = settings["selection"]
    return [
        {
            **case,
            **{"block": blocks.block_of(name), "tensor": name, "position": position},
            **{"weight": sum(weights), "mean_weight": sum(weights) / len(rates)},
        }
        for position, (name, weights) in enumerate(
            zip(names, zip(*rates, strict=True), strict=True)
        )
    ]


def _blocks(model: str, published: bool) -> Blocks:
    return Blocks.of(PUBLISHED[model].untrained() if published else build(model, 10, seed=0))


def block_weights(weights: pd.DataFrame) -> pd.DataFrame:
    """One row per model, variant, damaged block, seed and block: mean weight per tensor, `rank` (1 the largest).

    `lift` and `lift_rank`: the same relative to the undamaged network of that model and seed; NaN without one.
    """
    learn = weights[weights["weight"] > 0]
    means = learn.groupby([*_CASE, "block"], sort=False)["mean_weight"].mean()
    means = means.rename("weight").reset_index()
    same = ["model", "option", "seed", "block"]
    undamaged = means[means["damaged"] == UNDAMAGED].set_index(same)["weight"]
    index = pd.MultiIndex.from_frame(means[same])
    means["lift"] = means["weight"] / undamaged.reindex(index).to_numpy()
    for name, value in (("rank", "weight"), ("lift_rank", "lift")):
        means[name] = means.groupby(_CASE, sort=False)[value].rank(ascending=False)
    return means


def ranked_first(weights: pd.DataFrame) -> pd.DataFrame:
    """Whether Auto-RGN ranks the damaged block first: a row per model, variant and damaged block, means over seeds.

    `weight`: mean weight per tensor of the damaged block; `difference` ± s.e.: that minus the mean of the other
    blocks', within each seed; `rank` of the damaged block, `first` the share (%) of seeds in which it has rank 1.
    `undamaged rank`, `undamaged first`: the same block's in the network without damage. `lift`, `lift first`: see
    `block_weights`. One block in four is first by chance in 25 % of the seeds.
    """
    blocks = block_weights(weights)
    damaged = [name for name in dict.fromkeys(blocks["damaged"]) if name != UNDAMAGED]
    rows = [
        {"model": model, "option": option} | _row(own, name)
        for (model, option), own in blocks.groupby(["model", "option"], sort=False)
        for name in damaged
    ]
    return in_order(pd.DataFrame([row for row in rows if row["n"]])).round(3)


def _row(blocks: pd.DataFrame, damaged: str) -> dict[str, Any]:
    """`blocks`: of one model and variant."""
    here = blocks[blocks["damaged"] == damaged].set_index("seed")
    own, others = here[here["block"] == damaged], here[here["block"] != damaged]
    control = blocks[(blocks["damaged"] == UNDAMAGED) & (blocks["block"] == damaged)]
    difference = own["weight"] - others.groupby("seed")["weight"].mean()
    return {
        **{"damaged": damaged, "weight": own["weight"].mean()},
        **{"difference": difference.mean(), "error": difference.sem(ddof=1)},
        **{"rank": own["rank"].mean(), "first": _share_first(own["rank"])},
        "undamaged rank": control["rank"].mean(),
        "undamaged first": _share_first(control["rank"]),
        **{"lift": own["lift"].mean(), "lift first": _share_first(own["lift_rank"])},
        "n": len(own),
    }


def _share_first(ranks: pd.Series) -> float:
    """Percent of the known ranks that are 1."""
    return float(100 * ranks.dropna().eq(1).mean())
