"""Checkpoints load strictly, and whatever else a file holds is refused by name."""

import argparse
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from surgicalft.models.checkpoints import CheckpointError, load_weights, read_checkpoint
from surgicalft.models.resnet_cifar import ResNetCifar


def network(depth=8):
    return ResNetCifar(depth, widths=(8, 8, 8))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_round_trip(tmp_path, suffix):
    saved, path = network(), tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(saved.state_dict(), path)
    loaded = network()
    load_weights(loaded, read_checkpoint(path), path)
    for name, value in saved.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_arguments_of_the_training_do_no_harm(tmp_path):
    """DeiT's training code, which RVT's is built on, stores them beside the weights."""
    path, saved = tmp_path / "checkpoint.pth", network()
    torch.save({"model": saved.state_dict(), "args": argparse.Namespace(lr=1e-3)}, path)
    assert read_checkpoint(path, "model").keys() == saved.state_dict().keys()


def test_weights_under_a_key_beside_numbers_and_with_a_prefix(tmp_path):
    path = tmp_path / "checkpoint.pth"
    state = {f"module.{k}": v for k, v in network().state_dict().items()}
    torch.save({"net": state, "err": np.float64(0.1), "epoch": 3}, path)
    load_weights(network(), read_checkpoint(path, "net"), path)
    with pytest.raises(CheckpointError, match=r"no weights under 'model'.*err"):
        read_checkpoint(path, "model")


def test_a_malicious_pickle_is_not_executed(tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return open, (str(trace), "w")

    torch.save({"net": Evil()}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pt.*nothing was executed"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        read_checkpoint(path)
    assert not trace.exists()


def torchscript(path, content):
    """An archive in TorchScript's layout whose pickle is `content`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps((), protocol=2))
        archive.writestr("archive/data.pkl", content)


def test_a_malicious_torchscript_archive_is_not_executed(tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return open, (str(trace), "w")

    torchscript(path, pickle.dumps(Evil(), protocol=2))
    with pytest.raises(CheckpointError, match=r"evil\.pt: no weights"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x02", pickle.dumps({"a": 1}), b"no pickle"])
def test_a_damaged_torchscript_archive(tmp_path, content):
    torchscript(tmp_path / "weights.pt", content)
    with pytest.raises(CheckpointError, match=r"not a readable TorchScript archive"):
        read_checkpoint(tmp_path / "weights.pt")


def test_counts_of_batches_may_be_missing(tmp_path):
    saved, loaded = network(), network()
    state = {k: v for k, v in saved.state_dict().items() if not k.endswith("batches_tracked")}
    assert len(state) < len(saved.state_dict())
    load_weights(loaded, state, tmp_path)
    assert torch.equal(saved.fc.weight, loaded.fc.weight)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(network().state_dict(), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="truncated"):
        read_checkpoint(path)


def test_another_architecture(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(network(14).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"another architecture.*unknown: layer1\.1"):
        load_weights(network(8), read_checkpoint(path), path)
    torch.save(ResNetCifar(8, widths=(16, 16, 16)).state_dict(), path)
    with pytest.raises(
        CheckpointError, match=r"other shapes: .*\(16, 3, 3, 3\) for \(8, 3, 3, 3\)"
    ):
        load_weights(network(8), read_checkpoint(path), path)


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pt does not exist"):
        read_checkpoint(tmp_path / "none.pt")
