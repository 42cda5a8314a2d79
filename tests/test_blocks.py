"""Blocks are an ordered partition that names what it cannot place; selections are read from text."""

import re
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from surgicalft.blocks import Block, Blocks, Selection
from surgicalft.models.resnet_cifar import ResNetCifar

MODEL = ResNetCifar(14, widths=(8, 8, 8))
NAMES = [name for name, _ in MODEL.named_parameters()]
BLOCKS = Blocks.of(MODEL)


def toy() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 1))


def test_every_parameter_is_in_one_block_in_the_models_order() -> None:
    assert BLOCKS.names == ("block 1", "block 2", "block 3", "last") == tuple(BLOCKS)
    assert len(BLOCKS) == 4 and "block 2" in BLOCKS
    assert [p for name in BLOCKS for p in BLOCKS.parameters(name)] == NAMES
    assert all(parameter in BLOCKS.parameters(BLOCKS.block_of(parameter)) for parameter in NAMES)
    assert BLOCKS.parameters("last") == ("fc.weight", "fc.bias")


def test_patterns_of_the_user_come_first_and_match_from_the_start() -> None:
    blocks = Blocks.of(MODEL, {"body": r"(conv|layer|bn)", "head": r"fc\."})
    assert blocks.names == ("body", "head")
    assert blocks.parameters("head") == ("fc.weight", "fc.bias")
    assert Blocks.of(toy(), {"a": r"[01]", "b": r"2"}).parameters("a")[-1] == "1.bias"
    with pytest.raises(ValueError, match="no pattern"):
        Blocks.of(toy(), {"a": r"[01]", "b": r"weight|bias"})  # found, but not at the start


def test_unmatched_parameters_are_listed() -> None:
    with pytest.raises(ValueError, match=r"no pattern .* matches: \['2.weight', '2.bias'\]"):
        Blocks.of(toy(), {"a": r"0\.", "b": r"1\."})
    with pytest.raises(ValueError, match=r"matches: \['0.weight'"):
        Blocks.of(toy(), {})


def test_parameters_matched_twice_are_listed_with_their_blocks() -> None:
    with pytest.raises(ValueError, match=r"several patterns match: {'1.weight': \['a', 'b'\]"):
        Blocks.of(toy(), {"a": r"[01]\.", "b": r"[12]\."})


def test_empty_blocks_are_listed() -> None:
    with pytest.raises(ValueError, match=r"empty: \['b', 'd'\]"):
        Blocks.of(toy(), {"a": r"[01]\.", "b": r"3\.", "c": r"2\.", "d": r"x"})


def test_a_model_that_declares_nothing_is_told_how_to() -> None:
    with pytest.raises(ValueError, match=r"Sequential declares no block_patterns.*'2.bias'"):
        Blocks.of(toy())
    with pytest.raises(ValueError, match="ReLU has no parameters"):
        Blocks.of(nn.ReLU())


def test_tied_parameters_appear_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    blocks = Blocks.of(model, {"a": r"0\.", "b": r"1\."})
    assert blocks.select("all").parameters == ("0.weight", "0.bias", "1.bias")


@pytest.mark.parametrize("name", ["a:b", "a+b", "all", "none", "tensors", "first"])
def test_names_that_a_selection_could_not_tell_apart(name: str) -> None:
    blocks = (Block(name, ("x",), 1), Block("other", ("y",), 1))
    with pytest.raises(ValueError, match=f"names must be unique.*not .*{re.escape(name)}"):
        Blocks(blocks, (("first", ("x",)),))


def test_blocks_made_by_hand_are_checked() -> None:
    with pytest.raises(ValueError, match=r"in more than one block: \['x'\]"):
        Blocks((Block("a", ("x",), 1), Block("b", ("x", "y"), 2)))
    with pytest.raises(ValueError, match=r"tensor list 'first' .* lacks: \['z'\]"):
        Blocks((Block("a", ("x",), 1),), (("first", ("x", "z")),))


def test_blocks_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        BLOCKS.blocks = ()  # type: ignore[misc]
    assert Blocks.of(MODEL) == BLOCKS and hash(Blocks.of(MODEL)) == hash(BLOCKS)


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(0, 3))
def test_ranges_are_slices_and_merging_keeps_the_partition(i: int, j: int) -> None:
    first, last = BLOCKS.names[i], BLOCKS.names[j]
    if j < i:
        for refused in (
            lambda: BLOCKS.select(f"{first}:{last}"),
            lambda: BLOCKS.merge(first, last, "m"),
        ):
            with pytest.raises(ValueError, match=f"'{first}' comes after '{last}'; the order is"):
                refused()
        return
    chosen = tuple(p for name in BLOCKS.names[i : j + 1] for p in BLOCKS.parameters(name))
    assert BLOCKS.select(f"{first}:{last}") == Selection(f"{first}:{last}", chosen)
    merged = BLOCKS.merge(first, last, "m")
    assert merged.names == (*BLOCKS.names[:i], "m", *BLOCKS.names[j + 1 :])
    assert merged.parameters("m") == chosen
    assert merged.select("all").parameters == tuple(NAMES)
    assert merged.select("first_layer") == BLOCKS.select("first_layer")


def test_a_merged_block_may_take_the_name_of_a_part() -> None:
    merged = BLOCKS.merge("block 1", "block 2", "block 1")
    assert merged.names == ("block 1", "block 3", "last")
    with pytest.raises(ValueError, match="unique"):
        BLOCKS.merge("block 1", "block 2", "last")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("all", tuple(NAMES)),
        ("none", ()),
        ("last", ("fc.weight", "fc.bias")),
        ("block 1:last", tuple(NAMES)),
        ("first_layer", ("conv1.weight",)),
        ("first_2_layers", ("conv1.weight", "layer1.0.conv1.weight")),
        ("tensors:fc.bias, conv1.weight", ("conv1.weight", "fc.bias")),
    ],
)
def test_selections(what: str, expected: tuple[str, ...]) -> None:
    assert BLOCKS.select(what) == Selection(BLOCKS.select(what).name, expected)
    assert BLOCKS.select(BLOCKS.select(what).name).parameters == expected  # the name says it all


@pytest.mark.parametrize(
    ("what", "parts", "name"),
    [
        ("block 3+last", ["block 3", "last"], None),
        ("last+block 2", ["block 2", "last"], "block 2+last"),
        ("block 1:block 2+last", ["block 1", "block 2", "last"], None),
        ("first_layer+last", ["first_layer", "last"], None),
        (
            "tensors:fc.bias,conv1.weight + block 3",
            ["first_layer", "block 3", "tensors:fc.bias"],
            "",
        ),
        ("block 2+block 1:block 2", ["block 1", "block 2"], "block 1:block 2+block 2"),
        ("last+last", ["last"], "last"),
        ("none+last", ["last"], None),
        ("all+last", ["all"], None),
        ("none+none", [], "none"),
    ],
)
def test_unions(what: str, parts: list[str], name: str | None) -> None:
    union = BLOCKS.select(what)
    expected = {parameter for part in parts for parameter in BLOCKS.select(part).parameters}
    assert union.parameters == tuple(parameter for parameter in NAMES if parameter in expected)
    if name != "":
        assert union.name == (name or what)
    assert BLOCKS.select(union.name) == union
    assert union.front == (BLOCKS.select(parts[0]).front if parts else ())


@settings(deadline=None)
@given(st.lists(st.sampled_from(BLOCKS.names), min_size=1))
def test_a_union_of_blocks_starts_at_its_first(names: list[str]) -> None:
    union = BLOCKS.select("+".join(names))
    first = min(map(BLOCKS.names.index, names))
    assert (
        union.front
        == BLOCKS.select(f"block 1:{BLOCKS.names[first]}").parameters[
            : -len(BLOCKS.parameters(BLOCKS.names[first]))
        ]
    )
    assert set(union.parameters) == {p for name in names for p in BLOCKS.parameters(name)}


@settings(deadline=None)
@given(st.lists(st.sampled_from(NAMES)))
def test_tensors_are_taken_in_the_models_order(names: list[str]) -> None:
    selection = BLOCKS.select(names)
    assert selection.parameters == tuple(name for name in NAMES if name in names)
    assert BLOCKS.select(selection.name) == selection


@pytest.mark.parametrize(
    "what", ["block 2", "block 2:last", "tensors:layer2.0.conv1.weight,fc.bias"]
)
def test_a_selection_knows_what_is_in_front(what: str) -> None:
    assert BLOCKS.select(what).front == BLOCKS.parameters("block 1")
    assert BLOCKS.select("all").front == BLOCKS.select("first_layer").front == ()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("blok 2", r"unknown selection 'blok 2' \(did you mean 'block 2'\?\); legal: \['block 1'"),
        (
            "",
            r"unknown selection ''; legal: .*'FIRST:LAST', 'all', 'none', 'norms', 'biases', 'first_layer'",
        ),
        ("block 1:block 9", r"unknown block 'block 9' \(did you mean 'block [123]'"),
        ("block 1:block 2:last", "unknown block 'block 2:last'"),
        ("tensors:fc.wait", r"unknown parameter 'fc.wait' \(did you mean 'fc.weight'\?\)"),
        ("tensors:", "unknown parameter ''"),
        ("block 3+", r"unknown selection ''; legal: .*'A\+B'"),
        ("block 3+lost", r"unknown selection 'lost' \(did you mean 'last'\?\)"),
        ("block 3:block 1+last", "'block 3' comes after 'block 1'"),
        (["conv1.weight", "zzz"], r"unknown parameter 'zzz'; legal: \['conv1.weight'"),
    ],
)
def test_unknown_selections_name_the_legal_ones(what: str | list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BLOCKS.select(what)


def test_lookups_name_the_legal_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown block 'first'; legal: \['block 1', 'block 2'"):
        BLOCKS.parameters("first")
    with pytest.raises(
        ValueError, match=r"unknown parameter 'fc.weigth' \(did you mean 'fc.weight'"
    ):
        BLOCKS.block_of("fc.weigth")


def test_summary_counts() -> None:
    rows = [line.split() for line in BLOCKS.summary().splitlines()]
    assert rows[-1] == ["last", "2", "tensors", "90", "parameters"]
    assert sum(int(row[-2].replace(",", "")) for row in rows) == sum(
        p.numel() for p in MODEL.parameters()
    )
    assert "'last': 2 tensors, 90)" in repr(BLOCKS)
