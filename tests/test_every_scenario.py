"""All nine scenarios of the paper by name: loaded, pre-trained on, tuned, reported, on fixtures in their layouts.

A small network stands in for the large ones, at every step that makes no difference to the interface.
"""

from dataclasses import replace

import pytest
from shifts.test_imagenet import IDS, make_split
from shifts.wilds_fixtures import write_camelyon17, write_celeba, write_fmow, write_waterbirds

from surgicalft.compat import import_wilds
from surgicalft.executor import Executor
from surgicalft.models.zoo import PUBLISHED, Known
from surgicalft.profiles import get_profile
from surgicalft.shifts import get_scenario
from surgicalft.shifts.breeds_classes import ENTITY_30, LIVING_17
from surgicalft.shifts.imagenet import PER_CLASS, TOTAL
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store

SMALL = {"model": "clip-vit-tiny"}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / "cache"))


def tuned(scenario, data, n_tune, n_valid):
    """Records of the paper's study, cut short: one epoch, one rate, two selections, a small network."""
    study = get_profile("paper").study(scenario)
    base = replace(study.base, n_tune=n_tune, n_valid=n_valid, epochs=1)
    if base.pretrain is not None:
        short = {"epochs": 2, "head_epochs": min(1, base.pretrain.head_epochs), "weights": "random"}
        pretrain = replace(base.pretrain, **SMALL, **short, batch_size=16, precision="float32")
        base = replace(base, **SMALL, pretrain=pretrain)
    study = replace(study, base=base, selections=("last", "all"), learning_rates=(1e-3,))
    executor = Executor(data, progress=False)
    with Store(data / "runs.sqlite") as store:
        records = run_all(
            list(study.runs((0,))), store, executor, progress=False, prepare=executor.prepare
        )
    assert [record.settings["selection"] for record in records] == ["none", "last", "all"]
    for record in records:
        assert record.status == "finished", record.error
        assert record.n_test and record.provenance
    return records


@pytest.mark.parametrize(
    ("scenario", "write"),
    [("waterbirds", write_waterbirds), ("celeba", write_celeba)],
)
def test_output_shifts_report_the_worst_group(scenario, write, tmp_path):
    write(tmp_path)
    for record in tuned(scenario, tmp_path, n_tune=4, n_valid=4):
        assert 0 <= record.metrics["worst_group"] <= record.test_accuracy
        assert record.n_test % 4 == 0


def test_another_hospital(tmp_path):
    write_camelyon17(tmp_path)
    for record in tuned("camelyon17", tmp_path, n_tune=4, n_valid=4):
        assert list(record.metrics) == ["forward_passes"]  # it has no groups
        assert record.settings["optimizer"] == "sgd"


def test_another_region(tmp_path):
    """Six rows of each class in each split, of which a few are African: some classes lack images."""
    import_wilds()
    from wilds.datasets.fmow_dataset import categories

    write_fmow(tmp_path, categories * 6)
    sizes = get_scenario("fmow").load(tmp_path).pool.labels.bincount(minlength=62)
    assert sizes.min() < 2 < sizes.max(), (
        "the fixture should have classes with and without images to spare"
    )
    records = tuned("fmow", tmp_path, n_tune=62, n_valid=62)
    assert records[0].n_test == (sizes - 2).clamp(min=0).sum()


@pytest.mark.parametrize(("scenario", "task"), [("living-17", LIVING_17), ("entity-30", ENTITY_30)])
def test_feature_shifts(scenario, task, tmp_path, monkeypatch):
    monkeypatch.setitem(PER_CLASS, "train", (10, 10))
    monkeypatch.setitem(PER_CLASS, "val", (1, 1))
    ids = sorted(i for row in task for i in row.source + row.target)
    for split, count in (("train", 10), ("val", 1)):
        make_split(tmp_path / "imagenet" / split, ids, count)
    records = tuned(scenario, tmp_path, n_tune=2 * len(task), n_valid=len(task))
    assert records[0].n_test == len(ids) / 2


def test_input_shift_of_imagenet(tmp_path, monkeypatch):
    monkeypatch.setitem(PER_CLASS, "val", (3, 3))
    monkeypatch.setitem(TOTAL, "val", 3000)
    monkeypatch.setitem(PUBLISHED, "resnet50-imagenet", Known("clip-vit-tiny", "random", 1000))
    make_split(tmp_path / "imagenet-c" / "fog" / "5", IDS, 3, (224, 224))
    records = tuned("imagenet-c/fog", tmp_path, n_tune=1000, n_valid=1000)
    assert records[0].n_test == 1000
