"""Runs of test-time adaptation end to end: checked first, complete records, shared first steps, resumed streams."""

import pickle
from dataclasses import replace

import pytest
import torch

from surgicalft.blocks import Blocks
from surgicalft.evaluate import accuracy
from surgicalft.models.checkpoints import CheckpointError
from surgicalft.models.recipe import Pretrain
from surgicalft.models.zoo import load_network
from surgicalft.seeds import derive_seed
from surgicalft.settings import identity
from surgicalft.shifts import get_scenario
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store
from surgicalft.testtime.episodic import Episodic
from surgicalft.testtime.executor import StreamExecutor
from surgicalft.testtime.memo import Learner
from surgicalft.testtime.online import Online
from surgicalft.testtime.runs import StreamRun, check
from surgicalft.testtime.streams import copies, stream

PRETRAIN = Pretrain("glyphs", "resnet8-bn-w8", epochs=1, augment="none", learning_rate=0.05)
RUN = StreamRun(
    *("glyphs-c/gaussian_noise", PRETRAIN.model, "block 1", 1e-3),
    augmentations=4,
    flip=False,
    n_images=70,
    skip=20,
    pretrain=PRETRAIN,
)
NONE = replace(RUN, selection="none", learning_rate=0.0)
ONLINE = replace(RUN, mode="online", optimizer="sgd", learning_rate=0.01)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURGICALFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def executor(cache):
    return StreamExecutor(progress=False)


@pytest.fixture(scope="module")
def images():
    pool = get_scenario(RUN.scenario).load(None).pool
    return stream(pool, 10, RUN.seed, RUN.skip, RUN.n_images)


def network():
    return load_network(RUN.model, PRETRAIN, progress=False)


def right(outputs, images):
    return "".join(str(int(k)) for k in (outputs.argmax(1) == images.labels).long())


def correct(record):
    return "".join(window["correct"] for window in record["history"])


def seeds(n=70):
    return [derive_seed("views", RUN.seed, i) for i in range(n)]


def test_no_adaptation_is_the_networks_accuracy(executor, images):
    record = executor(NONE)
    assert record["test_accuracy"] == pytest.approx(accuracy(network(), images))
    assert record["n_test"] == 70 and [w["images"] for w in record["history"]] == [50, 70]


@pytest.mark.parametrize("selection", ["all", "first_layer", "last"])
def test_episodic_runs_are_those_of_the_library(executor, images, selection):
    run = replace(RUN, selection=selection)
    chosen = Blocks.of(network()).select(selection)
    outputs = Episodic(network(), chosen, run.memo())(images.images, seeds())
    executor.prepare([replace(RUN, selection="all"), run])
    assert correct(executor(run)) == right(outputs, images)


def test_online_runs_are_those_of_the_library(executor, images):
    chosen = Blocks.of(network()).select(ONLINE.selection)
    outputs = Online(network(), chosen, ONLINE.memo())(images.images, seeds())
    assert correct(executor(ONLINE)) == right(torch.stack(list(outputs)), images)


def test_runs_on_one_stream_share_their_first_step(monkeypatch):
    count, gradients = [], Learner.gradients
    monkeypatch.setattr(Learner, "gradients", lambda *a: count.append(1) or gradients(*a))
    executor = StreamExecutor(progress=False)
    some = replace(RUN, n_images=6)
    runs = [
        replace(some, selection=s, learning_rate=r) for s in ("last", "all") for r in (1e-3, 1e-4)
    ]
    executor.prepare(runs)
    for run in runs:
        executor(run)
    assert len(count) == 6
    executor(replace(runs[0], augmentations=5))
    assert len(count) == 12


SELECTIONS = ("last", "block 1", "all", "first_layer")
EPISODES = [replace(RUN, n_images=6, selection=name) for name in SELECTIONS]
STREAMS = [replace(ONLINE, n_images=6, selection=name) for name in ("last", "block 1")]


def same(a, b):
    """Predictions to the digit; entropies to rounding, since what is tuned along decides what is computed at once."""
    assert correct(a) == correct(b) and a["test_accuracy"] == b["test_accuracy"]
    assert a["metrics"]["entropy"] == pytest.approx(b["metrics"]["entropy"], rel=1e-5)


@pytest.fixture(scope="module")
def alone(cache):
    """Each run by an executor that has seen no other."""
    return {run: StreamExecutor(progress=False)(run) for run in [*EPISODES, *STREAMS]}


@pytest.mark.parametrize("prepared", [False, True])
def test_a_travelled_executor_takes_runs_in_any_order(alone, monkeypatch, prepared):
    """As on a worker, which is handed one run after the other, most of which it has not been told of."""
    count, gradients = [], Learner.gradients
    monkeypatch.setattr(Learner, "gradients", lambda *a: count.append(1) or gradients(*a))
    for runs in (EPISODES, EPISODES[::-1], [*EPISODES[1:], *STREAMS, *EPISODES[:1]]):
        executor = StreamExecutor(progress=False)
        if prepared:
            executor.prepare(runs)
        travelled = pickle.loads(pickle.dumps(executor))
        count.clear()
        for run in runs:
            travelled.prepare([run])
            same(travelled(run), alone[run])
        online = 6 * sum(run.mode == "online" for run in runs)
        # Prepared together, or with everything first, one first step serves all.
        once = prepared or runs[0].selection == "all"
        assert len(count) - online == 6 if once else len(count) - online <= 6 * len(EPISODES)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask's sockets, when it closes
@pytest.mark.parametrize("prepared", [False, True])
def test_a_cluster_gives_the_records_of_one_process(alone, tmp_path, prepared):
    executor, runs = StreamExecutor(progress=False), [*EPISODES, *STREAMS, *EPISODES[:1]]
    with Store(tmp_path / "runs.sqlite") as store:
        prepare = executor.prepare if prepared else None
        how = {"progress": False, "prepare": prepare, "cluster": "local", "workers": 2}
        records = run_all(runs, store, executor, **how)
    for run, record in zip(runs, records, strict=True):
        assert record.status == "finished", record.error
        same(vars(record), alone[run])


def test_a_stopped_run_goes_on_from_its_file(tmp_path, monkeypatch):
    whole = StreamExecutor(progress=False)(ONLINE)
    executor = StreamExecutor(progress=False, progress_dir=tmp_path, every=20)
    step, left = Online._one, iter(range(50))

    def stopping(self, ready):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return step(self, ready)

    monkeypatch.setattr(Online, "_one", stopping)
    with pytest.raises(KeyboardInterrupt):
        executor(ONLINE)
    (file,) = tmp_path.iterdir()
    assert file.stem == identity(ONLINE)
    monkeypatch.setattr(Online, "_one", step)
    resumed = StreamExecutor(progress=False, progress_dir=tmp_path, every=20)(ONLINE)
    assert resumed == whole and not list(tmp_path.iterdir())


def test_a_corrupt_progress_file_fails_its_run_by_name(tmp_path):
    (tmp_path / f"{identity(ONLINE)}.safetensors").write_bytes(b"no such thing")
    executor = StreamExecutor(progress=False, progress_dir=tmp_path)
    with pytest.raises(CheckpointError, match=identity(ONLINE)):
        executor(ONLINE)
    with Store(tmp_path / "runs.sqlite") as store:
        (record,) = run_all([ONLINE], store, executor, progress=False)
    assert record.status == "failed" and identity(ONLINE) in record.error


def test_a_large_learning_rate_collapses_and_a_reset_answers(executor):
    wild = replace(ONLINE, selection="all", learning_rate=3.0, n_images=200)
    record, answered = executor(wild), executor(replace(wild, reset=True))
    assert 50 <= record["metrics"]["collapsed_at"] <= 200 and record["metrics"]["resets"] == 0
    assert answered["metrics"]["resets"] >= 1
    assert record["history"][-1]["top"] >= 0.95


def test_tent_takes_batches(executor):
    run = replace(ONLINE, method="tent", selection="norms", optimizer="adam", batch_size=32)
    assert executor(run)["n_test"] == 70
    with pytest.raises(ValueError, match="its mode is 'online', not 'episodic'"):
        replace(run, mode="episodic")


TENT = {"method": "tent", "mode": "online", "optimizer": "adam", "batch_size": 10}


def test_a_prior_changes_what_batch_norm_does(executor):
    with_prior = executor(replace(NONE, prior=1))
    assert with_prior["metrics"]["entropy"] != executor(NONE)["metrics"]["entropy"]
    assert executor(replace(RUN, prior=16))["n_test"] == 70


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario": "glyphs-c/rain"}, "unknown scenario 'glyphs-c/rain'"),
        ({"scenario": "cifar10-c/fog"}, "departs from source 'cifar10'"),
        ({"selection": "blok 1"}, "did you mean 'block 1'"),
        ({"pretrain": None, "model": "resnet26"}, "model must be one of"),
    ],
)
def test_names_that_do_not_exist_are_refused_before_anything_is_computed(changes, message):
    with pytest.raises(ValueError, match=message):
        check(replace(RUN, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "memmo"}, "method must be one of"),
        ({"mode": "sometimes"}, "mode must be one of"),
        ({"augmentations": 0}, "augmentations must be a whole number from 1 on"),
        ({"skip": -1}, "skip must be a whole number from 0 on, not -1"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 on, not 0"),
        ({"crop": "round"}, "crop"),
        ({"prior": -1}, "prior must be a whole number from 0 on"),
        ({"precision": "float16"}, "precision must be one of"),
        (
            {**TENT, "precision": "bfloat16"},
            "tent draws no views; its precision is 'float32', not 'bfloat16'",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(RUN, **changes)


def test_copies_of_other_images_are_left_out(real_data):
    """The 500 exact test images are among the 10,000 of the JPEG copy, whatever corruption hides them."""
    run = replace(
        NONE,
        scenario="cifar10-jpeg-c/fog",
        model="memo-resnet26-gn",
        pretrain=None,
        without="cifar10-lossless",
        skip=0,
        n_images=0,
    )
    images, _ = StreamExecutor(real_data)._stream(run)
    assert len(images) == 9500


def test_a_device_that_does_not_exist():
    with pytest.raises(ValueError, match=r"device must be one of PyTorch's, .* not 'gpu'"):
        StreamExecutor(device="gpu")


def test_copies_that_are_not_there_cannot_be_left_out(executor, monkeypatch):
    others = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    monkeypatch.setattr("surgicalft.testtime.executor.copies", lambda a, b: copies(a, others))
    with pytest.raises(ValueError, match="without='glyphs': 0 copies among"):
        executor(replace(NONE, without="glyphs"))


def test_an_empty_stream_is_refused(executor):
    with pytest.raises(ValueError, match="3000"):
        executor(replace(NONE, skip=3000))
