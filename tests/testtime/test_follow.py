"""A stream that is stopped goes on to bit-identical predictions; collapse is noted and answered."""

import pytest
import torch

from surgicalft.blocks import Blocks
from surgicalft.models.checkpoints import CheckpointError
from surgicalft.models.networks import build
from surgicalft.shifts import Labelled
from surgicalft.testtime.follow import Keeper, follow
from surgicalft.testtime.memo import Memo
from surgicalft.testtime.online import Online

N, EVERY = 14, 4
SEEDS = list(range(N))
MEMOS = (
    Memo(0.05, "sgd", augmentations=3),
    Memo(1e-3, "adamw", weight_decay=0.1, steps=2, augmentations=3),
)


@pytest.fixture(scope="module")
def stream():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (N, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Labelled(images, torch.randint(0, 10, (N,), generator=generator))


class Stop(Exception):
    pass


def online(memo, stop_after=None, name="resnet8-gn-w8"):
    network = build(name, 10, seed=0).eval()
    adapter = Online(network, Blocks.of(network).select("all"), memo)
    if stop_after is None:
        return adapter
    step, left = adapter._one, iter(range(stop_after))

    def counted(ready):
        if next(left, None) is None:
            raise Stop
        return step(ready)

    adapter._one = counted
    return adapter


@pytest.mark.parametrize("memo", MEMOS)
@pytest.mark.parametrize("stop_after", [0, 3, 4, 9, 13])
def test_a_stopped_stream_goes_on_as_if_nothing_had_been(tmp_path, stream, memo, stop_after):
    whole = follow(online(memo), stream, SEEDS, Keeper(None, "run"), EVERY)
    with pytest.raises(Stop):
        follow(online(memo, stop_after), stream, SEEDS, Keeper(tmp_path, "run"), EVERY)
    kept = list(tmp_path.iterdir())
    assert len(kept) == (stop_after >= EVERY)
    rest = online(memo, stop_after=N - stop_after // EVERY * EVERY)  # no image twice
    resumed = follow(rest, stream, SEEDS, Keeper(tmp_path, "run"), EVERY)
    assert resumed == whole  # predictions and entropies, bit for bit
    assert not list(tmp_path.iterdir())


def test_a_corrupt_file_is_refused_by_name(tmp_path, stream):
    with pytest.raises(Stop):
        follow(online(MEMOS[0], 9), stream, SEEDS, Keeper(tmp_path, "run"), EVERY)
    path = tmp_path / "run.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"run\.safetensors"):
        follow(online(MEMOS[0]), stream, SEEDS, Keeper(tmp_path, "run"), EVERY)


def test_state_of_other_tensors_is_refused():
    network = build("resnet8-gn-w8", 10, seed=0)
    last = Online(network, Blocks.of(network).select("last"), MEMOS[0])
    with pytest.raises(ValueError, match=r"not of \['fc.weight', 'fc.bias'\]"):
        last.load_state(online(MEMOS[0]).state())


class Sure:
    """An adapter that collapses after ten images, until it is reset."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images, seeds):
        for i in range(len(images)):
            self.seen += 1
            yield 100 * torch.eye(10)[0 if self.seen > 10 else i % 10]

    def reset(self):
        self.seen = 0

    def state(self):
        return {}

    def load_state(self, state):
        pass


def test_collapse_is_noted_and_answered_by_a_reset_only_if_asked():
    n = 300
    stream = Labelled(torch.zeros(n, 3, 4, 4, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64))
    for reset in (False, True):
        outcome = follow(Sure(), stream, range(n), Keeper(None, "run"), 100, reset)
        assert 50 <= outcome.collapsed_at <= 61
        assert bool(outcome.resets) == reset
        assert len(set(outcome.predicted[-200:])) == (1 if not reset else 10)
