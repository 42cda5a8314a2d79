"""A progress file gives back what was saved, or is refused by its name."""

import pytest
import torch
from safetensors.torch import save_file

from surgicalft.models.checkpoints import CheckpointError
from surgicalft.testtime.progress_file import load_progress, save_progress

STATE = {"weights/a": torch.randn(3, 2), "optimizer/step/a": torch.tensor(7.0)}
FACTS = {"position": 400, "seen": [[1, 0.25], [3, 1e-9]]}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "streams" / "run.safetensors"
    save_progress(path, "run", STATE, FACTS)
    return path


def test_what_was_saved_comes_back(path):
    state, facts = load_progress(path, "run")
    assert facts == FACTS and state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert [file.name for file in path.parent.iterdir()] == ["run.safetensors"]


def test_a_later_one_replaces_it(path):
    save_progress(path, "run", STATE, {"position": 600})
    assert load_progress(path, "run")[1] == {"position": 600}


def test_a_file_cut_short_is_refused_by_name(path):
    for length in (0, 5, 100, path.stat().st_size - 1):
        cut = path.with_name(f"cut{length}.safetensors")
        cut.write_bytes(path.read_bytes()[:length])
        with pytest.raises(CheckpointError, match=cut.name):
            load_progress(cut, "run")


def test_any_altered_byte_of_the_tensors_is_noticed(path):
    content = bytearray(path.read_bytes())
    for i in range(1, 29):  # tensors lie at the end
        altered = bytearray(content)
        altered[-i] ^= 1
        path.write_bytes(altered)
        with pytest.raises(CheckpointError, match="checksum"):
            load_progress(path, "run")


def test_another_runs_file_is_refused(path):
    with pytest.raises(CheckpointError, match="belongs to run run, not to other"):
        load_progress(path, "other")


def test_weights_are_no_progress(path):
    save_file(STATE, path)
    with pytest.raises(CheckpointError, match="not a stream's progress"):
        load_progress(path, "run")
