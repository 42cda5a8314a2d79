"""The command `surgicalft which-block`, on small folders of images."""

import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from surgicalft import cli
from surgicalft.cli import which_block as topic
from surgicalft.own.runs import OwnExecutor

FAST = ["--epochs", "1", "--rates", "1e-3", "--seeds", "1", "--jobs", "1"]
FILES = ["csv", "md", "json", "png", "safetensors"]


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    monkeypatch.setattr(cli, "TOPICS", (topic,))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Dark and light squares."""
    root, draw = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for k, name in enumerate(("dark", "light")):
        (root / name).mkdir()
        for i in range(8):
            pixels = draw.integers(100 * k, 100 * k + 150, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a network with two classes, and of one with three in a training's own file."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    two, three = (timm.create_model("resnet10t", num_classes=n).state_dict() for n in (2, 3))
    save_file(two, folder / "two.safetensors")
    torch.save({"state_dict": three, "epoch": 7}, folder / "three.pt")
    return folder


def ask(*arguments):
    return cli.main(["which-block", *map(str, arguments)])


def test_from_the_shell(data, weights, tmp_path, capsys, monkeypatch):
    two = weights / "two.safetensors"
    asked = ("--model", "resnet10t", "--data", data, "--weights", two, *FAST, "--output", tmp_path)
    assert ask(*asked, "--selections", "block 2", "last") == 0
    text, printed = capsys.readouterr()
    line = "2 classes in the order of their names, with their images in train: dark (8), light (8)"
    assert printed.splitlines()[0] == f"surgicalft: {line}" and f"{line}." in text
    shown = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert [name.strip("| *✓") for name in shown] == ["selection", "---", "block 2", "last", "all", "none"]  # fmt: skip
    assert "% on the test images" in text and "The last layer is new" not in text
    assert text.splitlines()[-5:] == [str(tmp_path / f"which_block.{s}") for s in FILES]
    plain = timm.create_model("resnet10t", num_classes=2)
    plain.load_state_dict(load_file(tmp_path / "which_block.safetensors"), strict=True)
    computed = []
    real = OwnExecutor.tune
    monkeypatch.setattr(OwnExecutor, "tune", lambda *a: computed.append(a) or real(*a))
    assert ask(*asked, "--selections", "block 2", "last") == 0
    assert len(computed) == 1  # once more for the weights that are written, which no store keeps
    assert capsys.readouterr().out == text


def test_another_number_of_classes_makes_a_new_last_layer(data, weights, tmp_path, capsys):
    asked = ("--model", "timm/resnet10t", "--data", data, "--weights", weights / "three.pt")
    more = ("--key", "state_dict", "--selections", "last", "--output", tmp_path)
    assert ask(*asked, *FAST, *more, "--size", "16", "--mean", "0", "0", "0", "--std", "1", "1", "1") == 0  # fmt: skip
    assert "The last layer is new" in capsys.readouterr().out
    assert load_file(tmp_path / "which_block.safetensors")["fc.weight"].shape == (2, 512)


def test_results_inside_the_data_are_no_class(data, weights, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(data, root)
    asked = ("--model", "resnet10t", "--data", root, "--weights", weights / "two.safetensors")
    for _ in range(2):
        assert ask(*asked, *FAST, "--selections", "last", "--output", root / "out") == 0
        assert "surgicalft: 2 classes" in capsys.readouterr().err
        assert (root / "out" / "which_block.png").exists()


def test_weights_as_wrappers_name_them(tmp_path):
    torch.manual_seed(0)
    trained = timm.create_model("resnet10t", num_classes=7).state_dict()
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": {f"model._orig_mod.{n}": w for n, w in trained.items()}}, file)
    model, outputs = topic.load_model("resnet10t", file, "state_dict")
    assert outputs == 7
    for name, value in model.state_dict().items():
        assert torch.equal(value, trained[name])


def test_torchvisions_networks(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    trained = resnet18(num_classes=7)
    file = tmp_path / "weights.pth"
    torch.save(trained.state_dict(), file)
    model, outputs = topic.load_model("torchvision/resnet18", file)
    assert outputs == 7 and type(model) is type(trained)
    for name, value in model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])


def test_the_publishers_weights_are_asked_for(monkeypatch):
    made = timm.create_model("resnet10t", num_classes=5)
    asked = {}
    monkeypatch.setattr(timm, "create_model", lambda name, **more: asked.update(more) or made)
    assert topic.load_model("resnet10t", None) == (made, 5)
    assert asked == {"pretrained": True}


def test_what_all_runs_that_fail_say(data, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(OwnExecutor, "__call__", lambda self, run: 1 / 0)
    asked = ("--model", "resnet10t", "--data", data, "--weights", weights / "two.safetensors")
    assert ask(*asked, *FAST, "--output", tmp_path) == 1
    assert "tuning runs failed; the first: ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet11"], r"unknown model 'resnet11'; similar: ['resnet"),
        (
            ["--model", "torchvision/resnet11"],
            "unknown model 'torchvision/resnet11'; similar: ['resnet",
        ),
        (["--model", "resnet18"], "resnet18: is of another architecture"),
        (["--weights", "nowhere.pt"], "checkpoint nowhere.pt does not exist"),
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--weights", "."], "checkpoint .: is no regular file"),
        (["--mean", "0", "0", "0"], "--mean and --std go together"),
        (["--mean", "0", "--std", "1"], "normalize must be 3 means and 3 positive deviations"),
        (["--selections", "block 9"], "unknown selection 'block 9'"),
        (["--seeds", "1", "1"], "seeds must be different ones, not [1, 1]"),
        (["--rates", "-1"], "rates[0] must be a finite number above 0, not -1.0"),
        (["--pretrained"], "not allowed with argument"),
    ],
)
def test_wrong_commands_end_with_2(arguments, message, data, weights, tmp_path, capsys):
    usual = {"--model": "resnet10t", "--data": data, "--weights": weights / "two.safetensors"}
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    kept = [part for name, value in usual.items() if name not in given for part in (name, value)]
    with pytest.raises(SystemExit) as end:
        ask(*kept, *arguments, "--output", tmp_path)
    assert end.value.code == 2
    assert message.replace("resnet18: is", "two.safetensors: is") in capsys.readouterr().err


def test_weights_that_cannot_be_had(monkeypatch, data, capsys):
    def refuse(*args, **options):
        raise OSError("no route to host\nand so on")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(SystemExit):
        ask("--model", "resnet10t", "--pretrained", "--data", data)
    message = "of resnet10t could not be had (OSError: no route to host); give a file"
    assert message in capsys.readouterr().err
