"""Checkpoints load strictly, and whatever else a file holds is refused by name."""

import argparse
import os
import pickle
import random
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from surgicalft.models.checkpoints import (
    PREFIXES,
    CheckpointError,
    load_weights,
    match_names,
    read_checkpoint,
)
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


STACKED = ("module._orig_mod.", "_orig_mod.module.model.", "model.backbone.")


@pytest.mark.parametrize("prefix", [*(f"{name}." for name in PREFIXES), *STACKED])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_prefixes_of_wrappers(tmp_path, prefix, suffix):
    saved, path = network(), tmp_path / f"weights{suffix}"
    state = {f"{prefix}{name}": value for name, value in saved.state_dict().items()}
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    loaded = network()
    load_weights(loaded, read_checkpoint(path), path)
    for name, value in saved.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_averaged_weights(tmp_path):
    saved, path = network(), tmp_path / "ema.pt"
    torch.save(AveragedModel(saved).state_dict(), path)
    found = read_checkpoint(path)
    assert "n_averaged" in found
    loaded = network()
    load_weights(loaded, found, path)
    assert torch.equal(saved.fc.weight, loaded.fc.weight)
    average = AveragedModel(network())  # which has the prefix and the count itself
    load_weights(average, found, path)
    assert torch.equal(saved.fc.weight, average.module.fc.weight)


def test_prefixes_that_are_the_networks_own_stay(tmp_path):
    one = torch.ones(1)
    own = {"model.a", "backbone.module.b"}
    found = match_names({"module.model.a": one, "backbone.module.b": 2 * one}, own, tmp_path)
    assert found == {"model.a": one, "backbone.module.b": 2 * one}
    assert match_names({"head.a": one, "model.head.a": one}, own, tmp_path).keys() == {
        "head.a",
        "model.head.a",
    }  # neither is the network's: named as they are in the file
    with pytest.raises(CheckpointError, match=r"has a and model\.a, both of which are a"):
        match_names({"a": one, "model.a": one}, {"a"}, tmp_path)
    with pytest.raises(CheckpointError, match=r"1 unknown: model\.loss\.weight"):
        wrapped = {f"model.{name}": value for name, value in network().state_dict().items()}
        load_weights(network(), {**wrapped, "model.loss.weight": one}, tmp_path)


@pytest.mark.parametrize("code", [*"?bBhHiIlLqQefdFD", "U5"])
def test_numpy_scalars_beside_the_weights(tmp_path, code):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": network().state_dict(), "best": np.array([1]).astype(code)[0]}, path)
    load_weights(network(), read_checkpoint(path, "model"), path)


@pytest.mark.parametrize("value", [np.eye(2), np.array([None])[:1], network()])
def test_other_objects_are_refused_by_name(tmp_path, value):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": network().state_dict(), "more": value}, path)
    name = "ResNetCifar" if isinstance(value, nn.Module) else "_reconstruct"
    message = rf"checkpoint\.pth: refused, nothing was executed: it holds \S+\.{name}, "
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path, "model")


def test_weights_that_are_the_only_ones_need_no_key(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": network().state_dict(), "epoch": 3}, path)
    assert read_checkpoint(path).keys() == network().state_dict().keys()


def test_of_several_weights_the_keys_are_named(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": network().state_dict(), "ema": network().state_dict()}, path)
    with pytest.raises(CheckpointError, match=r"not tensors .*it holds \['ema', 'model'\], one of"):
        read_checkpoint(path)


def tiny():
    """A state dict of 1 kB."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net[0].reset_parameters()
    return net


def write_zip(path):
    torch.save(tiny().state_dict(), path)


def write_old(path):
    torch.save(tiny().state_dict(), path, _use_new_zipfile_serialization=False)


def write_script(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but such files are there
        torch.jit.script(tiny()).save(str(path))


@pytest.mark.parametrize("write", [write_zip, write_old, write_script])
def test_damage_of_any_kind_is_one_kind_of_error(tmp_path, write):
    """200 truncations and 200 flipped bytes: what is read is what was written, or nothing is."""
    path, draw = tmp_path / "damaged.pt", random.Random(0)
    write(path)
    whole, expected = path.read_bytes(), read_checkpoint(path)
    assert expected.keys() == tiny().state_dict().keys()
    cuts = [whole[: draw.randrange(len(whole))] for _ in range(200)]
    flips = []
    for _ in range(200):
        place, flip = draw.randrange(len(whole)), draw.randrange(1, 256)
        flips.append(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
    refused = []
    for content in (*cuts, *flips):
        path.write_bytes(content)
        try:
            found = read_checkpoint(path)
        except CheckpointError as error:
            assert str(path) in str(error)
            refused.append(content)
        else:
            same = all(torch.equal(found[n], v) for n, v in expected.items() if n in found)
            assert (
                found.keys() == expected.keys() and same
            ) or write is write_old  # it has no sums
    assert set(cuts) <= set(refused)
    assert 0.5 < len(set(refused) & set(flips)) / len(flips) < 1  # some bytes mean nothing


def test_a_flipped_bit_in_a_weight_is_noticed(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.arange(64, dtype=torch.float32)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor([40.0, 41.0]).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"weights\.pt: truncated or damaged .*data/0 is wrong"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint\n" * 9, b"PK", bytes(100), b"\x80\x02}q\x00."]
)
def test_files_that_are_no_checkpoint(tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"file\{suffix}: \S"):
        read_checkpoint(path)


def test_folders_pipes_and_other_archives_are_no_checkpoint(tmp_path):
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    for name in ("folder.pt", "pipe.pt"):
        with pytest.raises(CheckpointError, match=rf"{name}: is no regular file"):
            read_checkpoint(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(CheckpointError, match=r"other\.zip: truncated or not a torch checkpoint"):
        read_checkpoint(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(10**7))
    with pytest.raises(CheckpointError, match=r"bomb\.zip: .*unpacks to 10,000,000 bytes"):
        read_checkpoint(tmp_path / "bomb.zip")


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
