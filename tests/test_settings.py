"""Settings are named by what they are."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from surgicalft.models.recipe import Pretrain
from surgicalft.runs import Run
from surgicalft.seeds import derive_seed, generator
from surgicalft.settings import (
    as_dict,
    canonical,
    check_choice,
    check_count,
    check_device,
    check_flag,
    check_number,
    from_dict,
    identity,
    later,
)
from surgicalft.shifts.parameter_noise import Planted
from surgicalft.testtime.runs import StreamRun
from surgicalft.training import FineTune


@dataclass(frozen=True)
class One:
    a: int = 0
    b: Pretrain | None = None


@dataclass(frozen=True)
class Other:
    a: int = 0
    b: Pretrain | None = None


def test_equal_settings_have_one_identity_and_different_ones_do_not():
    settings = [
        One(),
        One(1),
        Other(),
        One(b=Pretrain("glyphs")),
        One(b=Pretrain("glyphs", seed=1)),
    ]
    names = {identity(s) for s in settings}
    assert len(names) == len(settings) and all(len(name) == 16 for name in names)
    assert identity(One(0)) == identity(One()) != identity(One(), "more")


def test_an_identity_stays_what_it_is():
    """Stores outlive versions: a changed identity would recompute every run."""
    assert canonical(One(2)) == '{"a": 2, "b": null, "type": "One"}'
    assert identity(One(2)) == "3b0e32b50df55654"


@dataclass(frozen=True)
class Grown:
    a: int = 0
    c: str = later("adam")


def test_a_field_that_came_later_changes_nothing_where_it_has_its_default():
    assert as_dict(Grown(1)) == {"a": 1}
    assert canonical(Grown(1)) == '{"a": 1, "type": "Grown"}'
    assert as_dict(Grown(1, "sgd")) == {"a": 1, "c": "sgd"}
    assert identity(Grown(1, "sgd")) != identity(Grown(1))
    assert from_dict(Grown, as_dict(Grown(1))) == Grown(1)


def test_from_dict_names_unknown_and_legal_keys():
    assert from_dict(One, {"a": 3}) == One(3)
    with pytest.raises(ValueError, match=r"unknown One settings \['c'\]; legal: \['a', 'b'\]"):
        from_dict(One, {"a": 1, "c": 2})


def test_seeds_tell_apart_what_they_identify():
    parts = [("a", 0), ("a", 1), ("b", 0), ("a", "0"), ("a0",), (), (0,), (0.0,)]
    seeds = {derive_seed(*p) for p in parts}
    assert len(seeds) == len(parts) and all(0 <= seed < 2**63 for seed in seeds)
    assert generator("x").initial_seed() == derive_seed("x")


def test_whole_numbers():
    for good in (3, np.int64(3), np.uint8(3)):
        assert type(check_count("epochs", good, 1)) is int
    for bad in (0, -1, 1.5, 2.0, np.float64(2), "2", True, np.True_, None, torch.tensor(2)):
        with pytest.raises(ValueError, match=r"epochs must be a whole number from 1 on, not "):
            check_count("epochs", bad, 1)


def test_numbers():
    for good in (0, 0.1, np.float64(0.1), np.float32(0.1), np.float16(0.1), np.int8(1)):
        assert type(check_number("rate", good)) in (int, float)
    assert check_number("rate", np.float32(1e-3)) == 1e-3  # not 0.0010000000474974513
    assert type(check_number("rate", 1)) is int  # identities of runs tell 1 from 1.0
    huge = 10**400
    for bad in (-1, math.nan, math.inf, np.float32("nan"), "1", True, np.True_, None, 1j, huge):
        with pytest.raises(ValueError, match=r"rate must be a finite number from 0 on, not "):
            check_number("rate", bad)
    for bad in (0, 1, 1.5, math.nan):
        with pytest.raises(ValueError, match="share must be a number between 0 and 1, but neither"):
            check_number("share", bad, 0, 1, ends=False)
    assert check_number("momentum", 1, 0, 1) == 1
    with pytest.raises(ValueError, match="momentum must be a number 0 to 1, not 2"):
        check_number("momentum", 2, 0, 1)


def test_flags_choices_and_devices():
    assert check_flag("flip", np.True_) is True
    for bad in (1, 0, "no", None):
        with pytest.raises(ValueError, match="flip must be True or False, not "):
            check_flag("flip", bad)
    with pytest.raises(ValueError, match=r"rule must be one of \['a'\], not \['a'\]"):
        check_choice("rule", ["a"], {"a": 1})  # what can't be hashed is refused, too
    check_device("cpu")
    check_device("cuda:7", here=False)  # workers may have it
    for bad in ("gpu", "", "cuda:x", None, 1.5):
        with pytest.raises(ValueError, match="device must be one of PyTorch's, such as 'cpu'"):
            check_device(bad, here=False)
    with pytest.raises(ValueError, match="device 'meta' can't be used here: "):
        check_device("meta")


PRETRAIN = Pretrain("glyphs", "resnet8-bn-w8")
LEARNING = {
    "learning_rate": (-1, math.nan, math.inf, "1e-3", True, None),
    "weight_decay": (-1, "1", math.nan),
    "epochs": (-1, 1.5, "3", True),
    "batch_size": (0, -1, 2.5),
    "seed": (-1, "x", 1.5),
    "optimizer": ("lion", 3, ["adam"]),
    "precision": ("float16",),
}
SCHEDULED = {"schedule": ("linear", None)}
SETTINGS = {
    "FineTune": (FineTune(1e-3), {**LEARNING, **SCHEDULED, "norm": ("batch", None)}),
    "Run": (
        Run("glyphs-flip", "resnet8-bn-w8", "last", 1e-3, pretrain=PRETRAIN),
        {
            **LEARNING,
            **SCHEDULED,
            "norm": ("batch",),
            "n_tune": (-1, 1.5),
            "n_valid": (-1, "100"),
            "test": ("some",),
            "selection": (3, None),
            "strength": (-1, "x", math.inf),
            "rates": ("1e-3", 1e-3, [math.nan]),
            "pretrain": ({"source": "glyphs"},),
            "planted": ("block 1",),
        },
    ),
    "StreamRun": (
        StreamRun("glyphs-flip", "resnet8-bn-w8", "last", 1e-3),
        {
            **{name: bad for name, bad in LEARNING.items() if name != "epochs"},
            **dict.fromkeys(("skip", "n_images", "per_class", "prior"), (-1, 1.5, "1", True)),
            **dict.fromkeys(("steps", "augmentations"), (0, 1.5, "1")),
            **dict.fromkeys(("flip", "reset"), ("no", 1)),
        },
    ),
    "Pretrain": (
        PRETRAIN,
        {
            **LEARNING,
            **SCHEDULED,
            "epochs": (0, -1, 1.5),
            "momentum": (-0.1, 1.5, "0.9"),
            "head_epochs": (-1, 0.5),
            "head_learning_rate": (-1, math.nan),
            "source": (None,),
        },
    ),
    "Planted": (Planted("block 1", 50.0), {"accuracy": (0, 100, "50"), "seed": (-1, "x")}),
}


@pytest.mark.parametrize(
    ("kind", "name", "bad"),
    [(k, n, b) for k, (_, fields) in SETTINGS.items() for n, bads in fields.items() for b in bads],
)
def test_settings_that_make_no_sense_are_named(kind, name, bad):
    """By their name and value, and with what is legal: a ValueError, whatever their type."""
    with pytest.raises(ValueError, match=name) as caught:
        replace(SETTINGS[kind][0], **{name: bad})
    text = str(caught.value)
    assert "must be" in text and ("not " + repr(bad) in text or repr(bad[0]) in text)


@pytest.mark.parametrize("kind", SETTINGS)
def test_numbers_of_numpy_give_the_same_identity(kind):
    """A run is found again in its store, whether its settings came from a list or from an array."""
    plain = SETTINGS[kind][0]
    numpy = {int: np.int64, float: np.float32, bool: np.bool_}
    values = {n: v for n, v in vars(plain).items() if type(v) in numpy}
    same = replace(plain, **{name: numpy[type(v)](v) for name, v in values.items()})
    assert same == plain and identity(same) == identity(plain)
    assert all(type(getattr(same, name)) is type(v) for name, v in values.items())


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        (FineTune(1e-3), "146d4bbb4388d25a"),
        (Run("glyphs-flip", "resnet8-bn-w8", "last", 0, pretrain=PRETRAIN), "460cd0b375138286"),
        (StreamRun("glyphs-flip", "resnet8-bn-w8", "last", 1e-3, prior=3), "cd57e2f3b4ca494a"),
        (PRETRAIN, "9bbda48ee8177da3"),
    ],
)
def test_identities_that_are_in_stores_stay(settings, known):
    assert identity(settings) == known
