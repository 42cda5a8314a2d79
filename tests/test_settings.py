"""Settings are named by what they are."""

from dataclasses import dataclass

import pytest

from surgicalft.models.recipe import Pretrain
from surgicalft.seeds import derive_seed, generator
from surgicalft.settings import as_dict, canonical, from_dict, identity, later


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
