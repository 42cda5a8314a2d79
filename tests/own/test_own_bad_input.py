"""What does not fit is refused before any tuning, with the value and what would fit."""

import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from toys import MEAN, Toy, coloured

from surgicalft.own import which_block
from surgicalft.own.data import read_data

QUICK = {"epochs": 1, "rates": (1e-2,), "seeds": 1, "progress": False}
DATA = coloured(30, seed=1), coloured(30, seed=2), coloured(30, seed=3)
IMAGES, LABELS = DATA[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be a whole number from 1 on, not 0"),
        ({"seeds": 1.5}, "seeds must be a whole number from 1 on, not 1.5"),
        ({"seeds": "12"}, "seeds must be a list of one or more different seeds, or their number, not '12'"),
        ({"seeds": []}, r"seeds must be a list of one or more .* not \[\]"),
        ({"seeds": [1, 1]}, r"seeds must be different ones, not \[1, 1\]"),
        ({"seeds": [0, True]}, r"seeds\[1\] must be a whole number from 0 on, not True"),
        ({"seeds": [-1]}, r"seeds\[0\] must be a whole number from 0 on, not -1"),
        ({"rates": []}, r"rates must be a list of one or more learning rates above 0, not \[\]"),
        ({"rates": 1e-3}, "rates must be a list of one or more learning rates above 0, not 0.001"),
        ({"rates": "1e-3"}, "rates must be a list of one or more .* not '1e-3'"),
        ({"rates": [1e-2, "1e-3"]}, r"rates\[1\] must be a finite number above 0, not '1e-3'"),
        ({"rates": [math.nan]}, r"rates\[0\] must be a finite number above 0, not nan"),
        ({"last_rates": (0.0,)}, r"last_rates\[0\] must be a finite number above 0, not 0.0"),
        ({"last_rates": (math.inf,)}, r"last_rates\[0\] must be a finite number above 0, not inf"),
        ({"epochs": 0}, "epochs must be a whole number from 1 on, not 0"),
        ({"epochs": 1.5}, "epochs must be a whole number from 1 on, not 1.5"),
        ({"epochs": True}, "epochs must be a whole number from 1 on, not True"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 on, not 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number from 1 on, not 2.5"),
        ({"weight_decay": -1}, "weight_decay must be a finite number from 0 on, not -1"),
        ({"weight_decay": "1"}, "weight_decay must be a finite number from 0 on, not '1'"),
        ({"weight_decay": math.nan}, "weight_decay must be a finite number from 0 on, not nan"),
        ({"schedule": "linear"}, "schedule must be one of .* not 'linear'"),
        ({"precision": "float16"}, "precision must be one of .* not 'float16'"),
        ({"size": 0}, "size must be a whole number from 1 on, not 0"),
        ({"valid_share": 0}, "valid_share must be a number between 0 and 1, but neither, not 0"),
        ({"test_share": "0.2"}, "test_share must be a number between 0 and 1, but neither, not '0.2'"),
        ({"device": "gpu"}, "device must be one of PyTorch's, such as 'cpu', 'cuda' or 'cuda:1', not 'gpu'"),
        ({"device": "meta"}, "device 'meta' can't be used here: "),
        ({"new_head": "no"}, "new_head must be True or False, not 'no'"),
        ({"name": Path("data")}, "name must be a text, not "),
        ({"jobs": 0}, "jobs must be a whole number from 1 on, not 0"),
        ({"selections": "last"}, "selections must be a list, not 'last'"),
        ({"selections": ["block 7"]}, r"unknown selection 'block 7' .*legal: \['block 1', 'block 2', 'last'"),
        ({"norm": "no"}, "norm must be one of"),
        ({"optimizer": "lion"}, "optimizer must be one of .* not 'lion'"),
        ({"normalize": ((0.5,), (0.5,))}, "normalize must be 3 means and 3 positive deviations"),
        ({"normalize": (MEAN, (1, 1, 0))}, "normalize must be 3 means and 3 positive deviations"),
        ({"patterns": {"a": "first"}}, "parameters that no pattern of"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        which_block(Toy(), *DATA, **{**QUICK, **options})


def test_settings_are_checked_before_the_data_are_read():
    class Unread:
        def __len__(self):
            raise AssertionError("the data were read")

        __getitem__ = __len__

    wrong = {"epochs": 0, "rates": [-1.0], "seeds": 0, "weight_decay": -1, "jobs": 0, "device": "x"}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"{name}.* must be"):
            which_block(Toy(), Unread(), **{**QUICK, name: value})


def test_numbers_of_numpy_make_the_same_runs():
    plain = {"rates": [1e-2], "seeds": [0, 1], "weight_decay": 1e-3, "epochs": 1, "batch_size": 8}
    numpy = {
        "rates": np.array([1e-2], np.float32),
        "seeds": np.arange(2),
        "weight_decay": np.float32(1e-3),
        "epochs": np.int64(1),
        "batch_size": np.int16(8),
    }
    one, other = (which_block(Toy(), *DATA, progress=False, **how) for how in (plain, numpy))
    assert [record.id for record in one.records] == [record.id for record in other.records]


class Odd(Toy):
    """A toy whose outputs `change` spoils."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, images):
        return self.change(self, super().forward(images))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet18", "model must be a torch.nn.Module, not str"),
        (nn.Flatten(), "Flatten has no parameters to partition"),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), "Sequential declares no block_patterns.*give patterns"),
        (timm.create_model("test_vit", num_classes=3), r"VisionTransformer does not take images of shape \(3, 4, 4\)"),
        (Odd(lambda self, x: x[:, :, None]), r"must give logits of shape \(n, classes\), but .* gives \(2, 3, 1\)"),
        (Odd(lambda self, x: (x, x) if self.training else x), "it gives tuple in training mode"),
        (Odd(lambda self, x: x * math.nan), "gives outputs that are NaN or infinite"),
    ],
)  # fmt: skip
def test_models_that_do_not_fit(model, message):
    with pytest.raises(ValueError, match=message):
        which_block(model, *DATA, **QUICK)


class Endless(IterableDataset):
    def __iter__(self):
        yield IMAGES[0], 0


def with_value(value):
    images = IMAGES.float() / 255
    images[3, 0, 0, 0] = value
    return images


def sized(*sizes):
    return [(torch.zeros(3, size, size, dtype=torch.uint8), i % 2) for i, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Endless(), "train must be .images, labels., a data set of such pairs that has a length"),
        (DataLoader(TensorDataset(*DATA[0])), "not DataLoader"),
        ([], "train is empty"),
        ([IMAGES[0]], r"train\[0\] must be \(image, label\), not Tensor"),
        (sized(4, 4, 8), r"of one shape, but train\[0\] is \(3, 4, 4\) and train\[2\] is \(3, 8, 8\)"),
        ((with_value(math.nan), LABELS), r"1 of 30 have pixels that are NaN or infinite, at \[3\]"),
        ((with_value(-0.5), LABELS), r"floats must lie in 0\.\.1, found -0\.5\.\."),
        ((IMAGES.float(), LABELS), r"floats must lie in 0\.\.1, found .*give uint8"),
        ((IMAGES.int(), LABELS), r"train images must be uint8 or float in 0\.\.1, not torch.int32"),
        ((IMAGES[0, 0], LABELS), r"must be \(n, c, h, w\), \(n, h, w, c\) or \(n, h, w\), not \(4, 4\)"),
        ((torch.zeros(30, 3, 3, 3), LABELS), r"say which axis holds the channels, layout='nchw' or layout='nhwc'"),
        ((IMAGES, LABELS[:9]), r"train labels must be of shape \(30,\), one for each image, not \(9,\)"),
        ((IMAGES, LABELS.float()), "train labels must be integers, not torch.float32"),
        ((IMAGES, ["cat"] * 30), "train labels must be an array of numbers, not of <U3"),
        ((IMAGES, LABELS + 1), r"train labels must lie in 0\.\.2, the network's outputs; found 1\.\.3"),
        ((IMAGES, LABELS - 1), r"found -1\.\.1"),
        ((IMAGES, LABELS * 0 + 2), "train must have two classes or more; all its labels are 2"),
        ((IMAGES[:7], LABELS[:7]), r"train has 2 images of class 1, too few to draw \{'valid': 1, 'test': 1\}"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit(train, message):
    with pytest.raises(ValueError, match=message):
        which_block(Toy(), train, **QUICK)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"test": (IMAGES, LABELS + 5)}, r"test has labels \[5, 6, 7\], of which train has no image"),
        ({"test": (IMAGES[:0], LABELS[:0])}, "test is empty"),
        ({"valid": coloured(6, size=5)}, r"of one shape \(c, h, w\), but they are .*'valid': \(3, 5, 5\)"),
        ({"valid_share": 0.5, "test_share": 0.5}, "shares to draw from train .* leave some of it, not"),
        ({"valid_share": 1.5}, "must be a number between 0 and 1, but neither, not 1.5"),
        ({"layout": "hwc"}, r"layout must be one of \['nchw', 'nhwc'\], not 'hwc'"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(more, message):
    with pytest.raises(ValueError, match=message):
        which_block(Toy(), DATA[0], **more, **QUICK)


def folder(root: Path, **images: int) -> Path:
    """`root` with so many images, 4 pixels wide, for each class."""
    for name, count in images.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full((4, 4, 3), 20 * i, np.uint8)).save(root / name / f"{i}.png")
    return root


def test_folders_that_do_not_fit(tmp_path):
    good = folder(tmp_path / "good", a=3, b=3)
    odd = folder(tmp_path / "odd", a=3, b=3)
    Image.new("RGB", (8, 6)).save(odd / "a" / "wide.png")
    broken = folder(tmp_path / "broken", a=3, b=3)
    (broken / "b" / "text.png").write_text("not an image")
    two = tmp_path / "two"
    for part in ("train", "val", "valid"):
        folder(two / part, a=3, b=3)
    for asked, message in {
        (tmp_path / "nowhere",): "nowhere is not a folder",
        (good / "a" / "0.png",): "0.png is not a folder",
        (good / "a",): "has no class folders: it needs one for each class",
        (folder(tmp_path / "empty", a=3, b=0),): r"no images .* in the class folders \['b'\]",
        (folder(tmp_path / "single", a=3),): "train must have two classes or more",
        (folder(tmp_path / "few", a=3, b=2),): "train has 2 images of class 1, too few",
        (good, None, folder(tmp_path / "other", a=3, c=3)): r"only one of them has \['b', 'c'\]",
        (good, None, folder(tmp_path / "less", b=3)): r"only one of them has \['a'\]",
        (odd,): r"not squares of one size: .* is 4 x 4; .*wide.png is 8 x 6; give `size`",
        (broken,): r"1 of 7 images cannot be read: .*text.png \(UnidentifiedImageError",
        (two,): r"has \['valid', 'val'\]: keep one of these",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_data(*asked)
    with pytest.raises(ValueError, match="cannot be read"):
        read_data(broken, size=4)
