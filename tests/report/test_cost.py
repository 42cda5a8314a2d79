"""Costs count every image of every run, and scale with throughput."""

import pandas as pd
import pytest

from surgicalft.models.recipe import Pretrain
from surgicalft.report import cost
from surgicalft.report.cost import IMAGES, Images, cost_table, passes, studies
from surgicalft.runs import Run
from surgicalft.studies import Study


def test_passes_are_those_of_a_slow_count():
    pretrain = Pretrain("s", "resnet8-bn", epochs=5, head_epochs=2)
    base = Run("t", "resnet8-bn", "none", 0.0, n_tune=30, n_valid=20, epochs=4, pretrain=pretrain)
    study = Study(base, ("block 1", "last"), (0.1, 0.2), (0.3,))
    found = passes(study, Images(train=1000, valid=100, test=500), seeds=2)
    forward = training = 0
    for _ in range(2):  # seeds
        forward += 500  # none
        for _ in range(3):  # block 1 at two rates, last at one
            training += 4 * 30
            forward += 4 * 20 + 500
    forward += 2 * 1000 + 5 * 100
    training += 3 * 1000
    assert (found.forward, found.training) == (forward, training)
    assert found.forward_equivalents == forward + 3 * training


def test_every_study_of_the_paper_has_its_row(monkeypatch):
    monkeypatch.setattr(cost, "_gigaflops", lambda model: 10.0)
    names = {study.base.scenario.split("/")[0] for study, _ in studies()}
    assert names == set(IMAGES)
    measured = ["resnet50", "clip-vit-b-16", "clip-vit-l-14"]
    rows = [
        {"model": name, "tuned": tuned, "images/s": rate}
        for name in measured
        for tuned, rate in (("forward only", 30.0), ("all", 10.0))
    ]
    table = cost_table(pd.DataFrame(rows))
    assert len(table) == len(studies())
    for row in table.to_dict("records"):
        factor = 2.25 if row["model"].endswith("336") else 1
        seconds = factor * 1e6 * row["million forward-equivalents"] / 30
        assert row["CPU hours"] == pytest.approx(seconds / 3600, abs=1, rel=0.02)
        assert row["PFLOP"] == pytest.approx(
            factor * 10 * row["million forward-equivalents"], abs=1, rel=0.02
        )
