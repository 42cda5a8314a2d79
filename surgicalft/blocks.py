"""Blocks: an ordered partition of a model's parameters, and the choice of what to tune among them.

`Blocks.of(model)` takes the names from the first of these that exists:

1. ordered regular expressions given by the user, each matched at the start of a parameter's name;
2. the model's own `block_patterns()`, in the same form;
3. timm's `group_matcher(coarse=True)`: `stem`, `block 1` ... `block N`, `last`;
4. of torchvision's families, `surgicalft.models.torchvision_blocks`, under the same names.

In front of them, torch.compile and DataParallel are looked through. The stem of a ResNet belongs to its `block 1`, as
in the paper, whoever built it: `resnet50` has four blocks and `last`.

The order is that of computation, so that a range of blocks is a contiguous part of the network. `last` is the
classifier (with its distilled and auxiliary twins); a model without one has no `last`. Weights between the
last stage and the classifier form a block of their own, a mere normalisation there joins the block before.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from torch import nn

from surgicalft.given_network import unwrap
from surgicalft.models.torchvision_blocks import family_of, torchvision_groups
from surgicalft.tensor_kinds import bias_tensors, norm_tensors

RESERVED = ("all", "none", "tensors")
REST = " "  # no module can have this name, so timm groups it with what its matcher forgets
Groups = list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Selection:
    """What is tuned: names of parameters, in the blocks' order, under a name for tables and records.

    `front` names the parameters of all blocks in front of the first that holds a tuned one.
    """

    name: str
    parameters: tuple[str, ...]
    front: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Block:
    """`parameters` are names, `size` the number of scalars they hold together."""

    name: str
    parameters: tuple[str, ...]
    size: int


@dataclass(frozen=True, repr=False)
class Blocks:
    """Ordered non-empty blocks that hold every parameter of a model once, and its named tensor lists.

    `len` counts the blocks and iteration yields their names. A tied parameter appears once, under the
    first of its names, as in `named_parameters()`.
    """

    blocks: tuple[Block, ...]
    tensor_lists: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        named = [*self.names, *(name for name, _ in self.tensor_lists)]
        times = Counter(named)
        if bad := [n for n in times if n in RESERVED or set(":+") & set(n) or times[n] > 1]:
            raise ValueError(
                f"names must be unique, without ':' or '+' and none of {RESERVED}, not {bad}"
            )
        if empty := [block.name for block in self.blocks if not block.parameters]:
            raise ValueError(f"every block needs a parameter; empty: {empty}")
        known = Counter(self._all())
        if twice := [name for name in known if known[name] > 1]:
            raise ValueError(f"parameters in more than one block: {twice}")
        for name, tensors in self.tensor_lists:
            if absent := [tensor for tensor in tensors if tensor not in known]:
                raise ValueError(f"tensor list {name!r} names parameters the model lacks: {absent}")

    @classmethod
    def of(cls, model: nn.Module, patterns: Mapping[str, str] | None = None) -> "Blocks":
        """Partition of `model`; `patterns` maps names of blocks, in order, to regular expressions.

        Names of parameters are those of `model`; patterns match them without a wrapper's prefix. Raises ValueError
        naming the parameters that match no pattern or several, the blocks left empty, or, for a model that declares
        nothing and is not timm's, how to give patterns; and for DistributedDataParallel.
        """
        model, prefix = unwrap(model)
        sizes = {name: p.numel() for name, p in model.named_parameters()}
        order = {name: i for i, name in enumerate(sizes)}
        blocks = (
            Block(name, tuple(sorted(group, key=order.__getitem__)), sum(sizes[n] for n in group))
            for name, group in _groups(model, list(sizes), patterns)
        )
        lists: dict[str, Sequence[str]] = {
            "norms": norm_tensors(model),
            "biases": bias_tensors(model),
            **getattr(model, "tensor_lists", dict)(),
        }
        found = cls(tuple(blocks), tuple((n, tuple(names)) for n, names in lists.items() if names))
        return found._prefixed(prefix) if prefix else found

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(block.name for block in self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def parameters(self, name: str) -> tuple[str, ...]:
        """Names of the parameters in block `name`."""
        return self.blocks[self._index(name)].parameters

    def block_of(self, parameter: str) -> str:
        """Name of the block that holds `parameter`."""
        for block in self.blocks:
            if parameter in block.parameters:
                return block.name
        raise _unknown("parameter", parameter, self._all())

    def merge(self, first: str, last: str, name: str) -> "Blocks":
        """The same partition with the blocks from `first` to `last`, both included, made one."""
        i, j = self._range(first, last)
        part = self.blocks[i:j]
        merged = Block(name, _join(part), sum(block.size for block in part))
        return Blocks((*self.blocks[:i], merged, *self.blocks[j:]), self.tensor_lists)

    def select(self, what: str | Sequence[str]) -> Selection:
        """What to tune: `what` is a sequence of parameter names or a text in one of these forms.

        A block ("block 2"), a range with both ends ("block 1:block 3"), "all", "none", a list of tensors ("norms",
        "biases", or the model's own, such as "first_layer"), single tensors ("tensors:conv1.weight,fc.bias"), or
        several of these together ("block 3+last"). "norms" are the scales and shifts of normalisation layers.
        Raises ValueError with the legal names, also for a range in reverse.
        """
        if not isinstance(what, str):
            return self._tensors(what)
        if "+" in what:
            return self._union([self.select(part.strip()) for part in what.split("+")])
        lists = dict(self.tensor_lists)
        if what in lists:
            return replace(self._tensors(lists[what]), name=what)
        if what in ("all", "none"):
            return Selection(what, self._all() if what == "all" else ())
        first, colon, last = what.partition(":")
        if first == "tensors" and colon:
            return self._tensors([name.strip() for name in last.split(",")])
        if colon:
            i, j = self._range(first, last)
            return Selection(what, _join(self.blocks[i:j]), _join(self.blocks[:i]))
        if what not in self.names:
            legal = [*self.names, "FIRST:LAST", "all", "none", *lists, "tensors:NAME,NAME", "A+B"]
            raise _unknown("selection", what, legal)
        i = self._index(what)
        return Selection(what, self.blocks[i].parameters, _join(self.blocks[:i]))

    def summary(self) -> str:
        """One line per block: name, number of tensors, number of parameters."""
        width = max(map(len, self.names))
        rows = ((b.name, len(b.parameters), b.size) for b in self.blocks)
        return "\n".join(f"{n:<{width}}  {t:5,} tensors  {p:13,} parameters" for n, t, p in rows)

    def __repr__(self) -> str:
        rows = (f"{b.name!r}: {len(b.parameters)} tensors, {b.size:,}" for b in self.blocks)
        return f"Blocks({'; '.join(rows)})"

    def _prefixed(self, prefix: str) -> "Blocks":
        """The same with a wrapper's prefix in front of every parameter's name."""

        def named(names: Sequence[str]) -> tuple[str, ...]:
            return tuple(prefix + name for name in names)

        return Blocks(
            tuple(replace(block, parameters=named(block.parameters)) for block in self.blocks),
            tuple((name, named(tensors)) for name, tensors in self.tensor_lists),
        )

    def _all(self) -> tuple[str, ...]:
        return _join(self.blocks)

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise _unknown("block", name, self.names)
        return self.names.index(name)

    def _range(self, first: str, last: str) -> tuple[int, int]:
        i, j = self._index(first), self._index(last)
        if j < i:
            raise ValueError(f"{first!r} comes after {last!r}; the order is {list(self.names)}")
        return i, j + 1

    def _union(self, parts: Sequence[Selection]) -> Selection:
        """What any of the parts tunes, under their names in the blocks' order."""
        order = {parameter: i for i, parameter in enumerate(self._all())}
        parts = sorted(parts, key=lambda part: [order[p] for p in part.parameters])
        name = "+".join(dict.fromkeys(part.name for part in parts))
        return replace(self._tensors([p for part in parts for p in part.parameters]), name=name)

    def _tensors(self, names: Sequence[str]) -> Selection:
        known = self._all()
        for name in names:
            if name not in known:
                raise _unknown("parameter", name, known)
        if not names:
            return Selection("none", ())
        chosen = tuple(name for name in known if name in names)
        first = self._index(self.block_of(chosen[0]))
        return Selection(f"tensors:{','.join(chosen)}", chosen, _join(self.blocks[:first]))


def _join(blocks: Sequence[Block]) -> tuple[str, ...]:
    return tuple(name for block in blocks for name in block.parameters)


def _unknown(kind: str, name: str, legal: Sequence[str]) -> ValueError:
    close = difflib.get_close_matches(name, legal, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return ValueError(f"unknown {kind} {name!r}{hint}; legal: {list(legal)}")


def _groups(model: nn.Module, names: list[str], patterns: Mapping[str, str] | None) -> Groups:
    if not names:
        raise ValueError(f"{type(model).__name__} has no parameters to partition")
    if patterns is None and hasattr(model, "block_patterns"):
        patterns = cast(Any, model).block_patterns()
    if patterns is not None:
        return _by_patterns(names, patterns)
    if hasattr(model, "group_matcher") or hasattr(model, "pretrained_cfg"):  # as timm builds them
        return _with_stem(model, _timm(model, names))
    if family := family_of(model):
        return _with_stem(model, torchvision_groups(family, names))
    why = "declares no block_patterns() and is neither timm's nor of a known family of torchvision"
    raise _needs_patterns(model, names, why)


def _with_stem(model: nn.Module, groups: Groups) -> Groups:
    """The stem of a ResNet in its first block; groups as they are of other networks."""
    is_resnet = any(c.__name__ == "ResNet" for c in type(model).__mro__)
    if not is_resnet or [title for title, _ in groups[:2]] != ["stem", "block 1"]:
        return groups
    (_, stem), (title, first), *rest = groups
    return [(title, stem + first), *rest]


def _needs_patterns(model: nn.Module, names: list[str], why: str) -> ValueError:
    return ValueError(
        f"{type(model).__name__} {why}: give patterns, ordered {{name of block: regular expression}}, "
        'such as {"block 1": r"conv1\\.", "last": r"fc\\."}; '
        f"its parameters are {names}"
    )


def _by_patterns(names: list[str], patterns: Mapping[str, str]) -> Groups:
    if not isinstance(patterns, Mapping):
        raise ValueError(
            f"patterns must be {{name of block: regular expression}}, not {type(patterns).__name__}"
        )
    try:
        found = {name: [b for b, p in patterns.items() if re.match(p, name)] for name in names}
    except (re.error, TypeError) as error:
        raise ValueError(
            f"patterns must be regular expressions, not {dict(patterns)}: {error}"
        ) from error
    if unmatched := [name for name, blocks in found.items() if not blocks]:
        raise ValueError(f"parameters that no pattern of {dict(patterns)} matches: {unmatched}")
    if twice := {name: blocks for name, blocks in found.items() if len(blocks) > 1}:
        raise ValueError(f"parameters that several patterns match: {twice}")
    return [(block, [n for n in names if found[n] == [block]]) for block in patterns]


def _timm(model: nn.Module, names: list[str]) -> Groups:
    """Groups of timm's matcher, or of the model's stages where it has no matcher that finds them."""
    heads = tuple(f"{prefix}." for prefix in _classifiers(model))
    body = [name for name in names if not name.startswith(heads)]
    groups = _by_matcher(model, body)
    if len(groups) < 3:  # group_matcher is missing, knows no coarse groups or names no such module
        groups = max(groups, _by_stages(model, body), key=len)
    if len(groups) < 2:
        raise _needs_patterns(model, names, "has no stages to be found")
    if all(model.get_parameter(name).ndim < 2 for name in groups[-1]):
        groups[-2:] = [groups[-2] + groups[-1]]  # a normalisation in front of the classifier
    titles = ["stem", *(f"block {i}" for i in range(1, len(groups)))]
    last = [name for name in names if name.startswith(heads)]
    return [*zip(titles, groups, strict=True), *([("last", last)] if last else [])]


def _classifiers(model: nn.Module) -> list[str]:
    """Names of the modules that classify, by timm's accessor and by the pretrained configuration."""
    if getattr(model, "num_classes", None) == 0:
        return []
    try:
        heads: Any = model.get_classifier()  # type: ignore[operator]
    except AttributeError:  # encoders have none, timm 1.0.9 misses the one of CLIP's ResNets
        heads = ()
    found = heads if isinstance(heads, tuple | list) else [heads]
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    titles = [named] if isinstance(named, str) else list(named)
    return titles + [n for n, module in model.named_modules() if any(module is h for h in found)]


def _by_matcher(model: nn.Module, names: list[str]) -> list[list[str]]:
    """timm's groups, in its order.

    timm puts what its matcher forgets behind everything else, and what it takes for the last normalisation
    into the last stage, even a token or a normalisation of the stem (`reg_token`, `norm_pre` in 1.0.9). Such
    a parameter goes with the one registered before it here, unless it is registered behind all others.
    """
    try:
        matcher = cast(Any, model).group_matcher(coarse=True)
    except (AttributeError, AssertionError):
        return []
    group, sure = _ordinals(names, matcher), _ordinals(names, _without_afterthoughts(matcher))
    known = [i for i, name in enumerate(names) if sure[name] != sure[REST]]
    current = min((group[names[i]] for i in known), default=0)
    for name in names[: known[-1]] if known else ():
        current = group[name] = current if sure[name] == sure[REST] else group[name]
    return [[n for n in names if group[n] == i] for i in sorted({group[n] for n in names})]


def _ordinals(names: list[str], matcher: Any) -> dict[str, int]:
    """Name -> number of timm's group, 0 in front; `REST` -> number of the group of unmatched names."""
    from timm.models._manipulate import group_with_matcher  # here: timm takes seconds to import

    named = ((name, None) for name in [*names, REST])
    ordinals: dict[str, int] = group_with_matcher(named, matcher, reverse=True)
    return ordinals


def _without_afterthoughts(matcher: Any) -> Any:
    """The matcher without the patterns that put something into the group before."""
    from timm.models._manipulate import MATCH_PREV_GROUP

    if not isinstance(matcher, dict):
        return matcher
    specs = {k: v if isinstance(v, list | tuple) else [(v, None)] for k, v in matcher.items() if v}
    return {k: [s for s in v if s[1] != MATCH_PREV_GROUP] for k, v in specs.items()}


def _by_stages(model: nn.Module, names: list[str]) -> list[list[str]]:
    """The entries of the model's largest list of modules, what is registered before it, what is behind."""
    lists = [
        (prefix, module)
        for prefix, module in model.named_modules()
        if isinstance(module, nn.Sequential | nn.ModuleList) and len(list(module.children())) > 1
    ]
    if not lists:
        return [names]
    size = [sum(p.numel() for p in module.parameters()) for _, module in lists]
    prefix, stages = lists[size.index(max(size))]
    start = f"{prefix}." if prefix else ""
    starts = [f"{start}{child}." for child, _ in stages.named_children()]
    parts = [[name for name in names if name.startswith(s)] for s in starts]
    inside = [i for i, name in enumerate(names) if name.startswith(tuple(starts))]
    groups = [names[: inside[0]], *parts, names[inside[-1] + 1 :]] if inside else [names]
    return [group for group in groups if group]
