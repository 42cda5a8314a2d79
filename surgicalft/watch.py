"""Watches one pass of a network operation by operation: what depends on what, and what has to be computed.

Tensors are known by their memory (storage), so that views and changes in place are followed. `Watch` writes the log;
`facts` and `needs` read it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from surgicalft.reuse import Call, Leaf, written

TUNED, RANDOM, IMAGES, MIXED = (
    1,
    2,
    4,
    8,
)  # what a tensor may depend on; MIXED: on several images at once
Place = tuple[int, Leaf | None]  # a storage, and which output of a call the tensor itself is


@dataclass(frozen=True)
class Operation:
    """One operation, in a candidate's call or, where `call` is None, outside of them."""

    call: Call | None
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]
    makes: tuple[int, ...]  # new storages
    random: bool  # it drew random numbers
    tells: bool  # it gave Python a value, or a shape that follows from values
    old: tuple[int, ...]  # of `writes`, what was there before the pass
    name: str = ""
    first: tuple[Tensor, ...] = ()  # the first image's part of what it gave
    sizes: tuple[int, ...] = ()  # scalars in each tensor that it gave


@dataclass(frozen=True)
class Enter:
    """A candidate was called with these storages."""

    call: Call
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class Leave:
    """It returned these tensors."""

    call: Call
    leaves: tuple[tuple[Leaf, int], ...]


class Watch(TorchDispatchMode):
    """Logs what happens within the context; `enter` and `leave` mark the calls of candidates.

    `n` is the number of images, `log` the list of events; `nested` are calls made in other candidates' calls.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.log: list[Operation | Enter | Leave] = []
        self.seen: set[int] = set()  # addresses of all memory that was read
        self.nested: set[Call] = set()
        self._call: Call | None = None
        self._numbers: dict[int, int] = {}
        self._made: set[int] = set()
        self._alive: list[Any] = []  # so that no memory is used for two things in one pass
        self._tags: dict[int, Leaf] = {}
        self._paused = False

    def begin(self, images: Tensor) -> int:
        """The number of the images' storage, which belongs to the pass."""
        self._made.add(self.number(images))
        return self.number(images)

    def place(self, tensor: Tensor) -> Place:
        """Its storage, and the output of a call that it is, if it is one."""
        return self.number(tensor), self._tags.get(id(tensor))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Within, nothing is logged."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def number(self, tensor: Tensor) -> int:
        """Of its storage."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self._alive.append(storage)
        return self._numbers[key]

    def enter(self, call: Call, arguments: Any) -> bool:
        """Whether this is a call of its own, not one inside of another's."""
        if self._call is not None:
            self.nested |= {self._call, call}
            return False
        self._call = call
        self.log.append(Enter(call, tuple(self.number(t) for t in _tensors(arguments))))
        return True

    def leave(self, call: Call, result: Any) -> Any:
        """The result, its tensors as new objects, by which they are known where they are read."""
        self._call = None
        leaves, tree = tree_flatten(result)
        found = []
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                found.append(((*call, i), self.number(leaf)))
                if not leaf.requires_grad:
                    with self.pause():
                        leaves[i] = leaf.detach()
                    self._tags[id(leaves[i])] = (*call, i)
                    self._alive.append(leaves[i])
        self.log.append(Leave(call, tuple(found)))
        return tree_unflatten(leaves, tree)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        seeded = torch.Tag.nondeterministic_seeded in func.tags
        before = _states() if seeded else []
        reads = [self.place(t) for t in _tensors((args, kwargs))]
        writes = [self.place(t) for t in _tensors(written(func, args, kwargs))]
        result = func(*args, **kwargs)
        given = list(_tensors(result))
        own = kwargs.get("generator") is not None
        drew = seeded and (own or not all(map(torch.equal, before, _states())))
        found = [self.number(t) for t in given]
        made = [n for n in found if n not in {m for m, _ in reads}]
        old = tuple(n for n, _ in writes if n not in self._made)
        self._made.update(made)
        self.seen.update(t.untyped_storage().data_ptr() for t in _tensors((args, kwargs)))
        tells = bool(reads) and (not found or _shape_tells(func, args))
        first = tuple(t[:1].clone() for t in given if t.ndim and len(t) == self.n)
        self.log.append(
            Operation(
                self._call,
                tuple(reads),
                tuple(writes),
                tuple(made),
                drew,
                tells and not writes,
                old,
                str(func),
                first,
                tuple(t.numel() for t in given),
            )
        )
        return result


def _shape_tells(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether the shape of the result follows from values; of indexing, only with a mask."""
    if torch.Tag.dynamic_output_shape not in func.tags:
        return False
    if func is torch.ops.aten.index.Tensor:
        return any(index.dtype in (torch.bool, torch.uint8) for index in _tensors(args[1]))
    return True


def depend_on_the_batch(one: Watch, other: Watch, same: Any) -> set[Call]:
    """Calls in which an operation gave another result for the first image, whose neighbours alone were others."""
    by_call: list[dict[Call, list[Operation]]] = [{}, {}]
    for watch, found in zip((one, other), by_call, strict=True):
        for event in watch.log:
            if isinstance(event, Enter):
                found[event.call] = []
            elif isinstance(event, Operation) and event.call is not None:
                found[event.call].append(event)
    calls = by_call[0].keys() | by_call[1].keys()
    return {c for c in calls if not _alike(by_call[0].get(c), by_call[1].get(c), same)}


def _alike(one: list[Operation] | None, other: list[Operation] | None, same: Any) -> bool:
    if one is None or other is None or [o.name for o in one] != [o.name for o in other]:
        return False
    firsts = ([t for o in operations for t in o.first] for operations in (one, other))
    a, b = firsts
    return len(a) == len(b) and all(map(same, a, b))


class Reads(TorchFunctionMode):
    """Notes whether Python reads values by ways that are no operations."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.found |= func in (Tensor.tolist, Tensor.numpy, Tensor.__array__)
        return func(*args, **(kwargs or {}))


def mixes_images(one: Watch, other: Watch) -> set[int]:
    """Storages in `one` whose size does not grow with the number of images as in `other`, a pass of another number.

    Where they depend on images they depend on several. Raises ValueError where the passes are not of the same
    operations.
    """
    operations = [[e for e in watch.log if isinstance(e, Operation)] for watch in (one, other)]
    if [o.name for o in operations[0]] != [o.name for o in operations[1]]:
        raise ValueError("another number of images takes other operations")
    found: set[int] = set()
    for a, b in zip(*operations, strict=True):
        if len(a.makes) == len(a.sizes) == len(b.sizes):
            sizes = zip(a.makes, a.sizes, b.sizes, strict=True)
            found.update(m for m, x, y in sizes if x * other.n != y * one.n)
    return found


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _states() -> list[Tensor]:
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if cuda else ())]


@dataclass
class Facts:
    """What a log says of a call: what its output depends on, and its inputs; `faults`, why it can't be answered."""

    output: int = 0
    inputs: int = 0
    faults: set[str] = field(default_factory=set)


@dataclass
class Findings:
    """`calls`: facts by call; `decides`: what values depend on that were read outside; `states`: storages that are
    there from pass to pass and were written."""

    calls: dict[Call, Facts]
    decides: int
    states: set[int]


def facts(watch: Watch, start: Mapping[int, int], mixed: Collection[int] = frozenset()) -> Findings:
    """What depends on what, from storages that depend on something at the `start` (storage -> TUNED, IMAGES).

    `mixed` are storages that are no rows, one for each image: see `mixes_images`.
    """
    depends = dict(start)
    found = Findings({}, 0, set())
    for event in watch.log:
        if isinstance(event, Enter):
            bits = _bits(depends, event.arguments)
            found.calls[event.call] = Facts(inputs=bits)
        elif isinstance(event, Leave):
            found.calls[event.call].output = _bits(depends, (n for _, n in event.leaves))
        else:
            _follow(event, depends, found, mixed)
    for call in watch.nested & set(found.calls):
        found.calls[call].faults.add("calls another module")
    return found


def _follow(
    event: Operation, depends: dict[int, int], found: Findings, mixed: Collection[int]
) -> None:
    bits = _bits(depends, (n for n, _ in event.reads)) | (RANDOM if event.random else 0)
    for n in (*event.makes, *(n for n, _ in event.writes)):
        several = MIXED if bits & IMAGES and n in mixed else 0
        depends[n] = depends.get(n, 0) | bits | several
    found.states.update(event.old)
    if event.call is None:
        found.decides |= bits if event.tells else 0
        return
    own = found.calls[event.call]
    if event.random:
        own.faults.add("draws random numbers")
    if event.tells and bits:
        own.faults.add("decides by values")
    if event.old:
        own.faults.add("keeps a state")


def _bits(depends: Mapping[int, int], storages: Iterable[int]) -> int:
    bits = 0
    for n in storages:
        bits |= depends.get(n, 0)
    return bits


@dataclass(frozen=True)
class Needs:
    """`kept`: outputs that are read; `images`: whether these are; `excluded`: calls that must be computed after all."""

    kept: frozenset[Leaf]
    images: bool
    excluded: frozenset[Call]


def needs(
    watch: Watch, answered: Collection[Call], images: int, results: Collection[Place]
) -> Needs:
    """What has to be there when the calls `answered` answer; `images` and `results` are input and output of the pass.

    Operations outside count if something depends on their results: the network's output, a state, a random number
    drawn. An output that is changed behind the back of the one that reads it excludes its call, and so does a call
    that leaves more behind than its output.
    """
    reader = _Reader(set(answered), images)
    for event in watch.log:
        reader.take(event)
    if reader.excluded:
        return Needs(frozenset(), True, frozenset(reader.excluded))
    return reader.needs(results)


class _Reader:
    def __init__(self, answered: set[Call], images: int) -> None:
        self.answered, self.images = answered, images
        self.excluded: set[Call] = set()
        self.operations: list[
            tuple[Operation, set[Leaf]]
        ] = []  # those computed, and what they read
        self.latest: dict[int, Leaf] = {}  # of a storage
        self.time: dict[Leaf, int] = {}
        self.change: dict[
            int, tuple[Leaf | None, int]
        ] = {}  # who wrote into a storage last, and when
        self.inside: dict[int, Call] = {}  # storages made in an answered call
        self.now = 0

    def take(self, event: Operation | Enter | Leave) -> None:
        self.now += 1
        if isinstance(event, Enter):
            return
        if isinstance(event, Leave):
            if event.call in self.answered:
                self._returned(event)
        elif event.call in self.answered:
            self._inside(event, event.call)
        else:
            self._outside(event)

    def _returned(self, event: Leave) -> None:
        for leaf, storage in event.leaves:
            self.latest[storage] = leaf
            self.time[leaf] = self.now
            self.inside.pop(storage, None)  # what is returned is no secret
            if storage in self.change and self.change[storage][0] is None:
                self.change[storage] = leaf, self.now  # written in this call

    def _inside(self, event: Operation, call: Call) -> None:
        self.inside.update(dict.fromkeys(event.makes, call))
        for n, _ in event.writes:
            if n in self.latest:
                self.change[n] = None, self.now
            elif (
                self.inside.get(n) != call
            ):  # into what is not kept: nothing could tell its readers
                self.excluded.add(call)

    def _outside(self, event: Operation) -> None:
        read = set()
        for n, tag in event.reads:
            if n in self.inside and n not in self.latest:
                self.excluded.add(self.inside[n])
            leaf = tag if tag is not None and tag[:2] in self.answered else self.latest.get(n)
            if leaf is not None:
                self._check(leaf, n)
                read.add(leaf)
        for n, tag in event.writes:
            if n in self.latest:
                self.change[n] = tag if tag is not None else self.latest[n], self.now
        self.operations.append((event, read))

    def _check(self, leaf: Leaf, storage: int) -> None:
        """Whether what is read is what the call returned, or what was written through its own output."""
        writer, when = self.change.get(storage, (leaf, 0))
        if when > self.time[leaf] and writer != leaf:
            self.excluded |= {(leaf[0], leaf[1])} | ({writer[:2]} if writer else set())

    def needs(self, results: Collection[Place]) -> Needs:
        live = {n for n, _ in results}
        kept = {tag for _, tag in results if tag is not None and tag[:2] in self.answered}
        kept |= {self.latest[n] for n, tag in results if n in self.latest and tag is None}
        for event, read in reversed(self.operations):
            makes = {*event.makes, *(n for n, _ in event.writes)}
            if event.old or event.random or event.tells or live & makes:
                kept |= read
                live.update(n for n, _ in event.reads)
        return Needs(frozenset(kept), self.images in live, frozenset())
