"""Tables 3 and 10 on a fixture in ImageNet-C's layout: the paper's study from its settings to records, RVT*-small."""

from dataclasses import replace

import pytest
from shifts.test_imagenet import IDS, make_split

from surgicalft.models.zoo import PUBLISHED, Known
from surgicalft.shifts.imagenet import PER_CLASS, TOTAL
from surgicalft.stream_studies import get_stream_study
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store
from surgicalft.testtime.executor import StreamExecutor


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_split(folder / "imagenet-c" / "fog" / "5", IDS, 3, (224, 224))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURGICALFT_CACHE", str(folder / "cache"))
        patch.setitem(PER_CLASS, "val", (3, 3))
        patch.setitem(TOTAL, "val", 3000)
        patch.setitem(PUBLISHED, "rvt-small-imagenet", Known("rvt-small", "random", 1000))
        yield folder


def runs(**changes):
    found = [
        run for run in get_stream_study("imagenet").reports([]) if run.scenario == "imagenet-c/fog"
    ]
    return [replace(run, **changes) for run in found]


def test_every_row_of_table_10_is_run(data):
    some = runs(augmentations=2, n_images=2)
    rows = [(run.mode, run.selection, run.prior) for run in some]
    assert rows[0] == ("episodic", "none", None)
    assert set(rows[1:]) == {
        (mode, selection, 16)
        for mode in ("episodic", "online")
        for selection in ("all", "first_layer", "block 1", "last")
    }
    executor = StreamExecutor(data, progress=False)
    with Store(data / "runs.sqlite") as store:
        records = run_all(some, store, executor, progress=False, prepare=executor.prepare)
    for record in records:
        assert record.status == "finished", record.error
        assert record.n_test == 2 and "ImageNet-C" in record.provenance


def test_the_stream_is_the_first_two_images_of_each_class(data):
    executor = StreamExecutor(data, progress=False)
    run = runs()[0]
    images, _ = executor._stream(run)
    assert len(images) == 2000 and images.labels.bincount().tolist() == [2] * 1000
