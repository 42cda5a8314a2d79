"""Settings are named by what they are."""

from dataclasses import dataclass

import pytest

from surgicalft.models.pretrain import Pretrain
from surgicalft.seeds import derive_seed, generator
from surgicalft.settings import canonical, from_dict, identity


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


def test_from_dict_names_unknown_and_legal_keys():
    assert from_dict(One, {"a": 3}) == One(3)
    with pytest.raises(ValueError, match=r"unknown One settings \['c'\]; legal: \['a', 'b'\]"):
        from_dict(One, {"a": 1, "c": 2})


def test_seeds_tell_apart_what_they_identify():
    parts = [("a", 0), ("a", 1), ("b", 0), ("a", "0"), ("a0",), (), (0,), (0.0,)]
    seeds = {derive_seed(*p) for p in parts}
    assert len(seeds) == len(parts) and all(0 <= seed < 2**63 for seed in seeds)
    assert generator("x").initial_seed() == derive_seed("x")
