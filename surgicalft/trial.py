"""Finds, by trial on copies, which calls of frozen modules may answer from memory: `find_plan`.

A call may if its output stays the same whatever is learned, whatever is drawn, and whatever else is in the batch. That
is looked for in two ways, and both must agree. *By what follows from what*: one pass is watched operation by operation
(`surgicalft.watch`), and every tensor is known to depend on what learns, on chance, on the images, or on none of these.
*By numbers*: outputs must be bit for bit the same after the tuned tensors have been changed, and with other images in
the batch (so must those of every operation within, for what follows may hide a difference); and to rounding in
evaluation mode and for an image alone. Calls that keep a state, decide by values, write into what others read, or leave
more behind than they return are never answered.

What must be kept are outputs that operations read on whose results something depends that is computed. Before a plan is
used, a pass both ways must agree: outputs, gradients of every tuned tensor, and buffers.

The copies take all of this; of the network itself, of its modes and of the global random state nothing changes.
"""

import itertools
import random
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from surgicalft.given_network import copy_network
from surgicalft.reuse import NOTHING, Answering, Call, Layout, Leaf, Output, Plan, intercepted
from surgicalft.watch import (
    IMAGES,
    MIXED,
    RANDOM,
    TUNED,
    Enter,
    Findings,
    Leave,
    Needs,
    Operation,
    Place,
    Reads,
    Watch,
    depend_on_the_batch,
    facts,
    mixes_images,
    needs,
)

SIZES = (2, 8, 16)  # batches that are tried
ROUNDS = 8  # of looking inside modules that may not answer as a whole
Seen = dict[Call, tuple[Any, list[Any]]]  # of each call: the tree of its output, and the leaves


@dataclass(frozen=True)
class Conditions:
    """How the network will be run.

    training: in training mode, too, not only in evaluation mode. rows: what is kept of an image serves in any batch;
    False for batches that stay together. passes: makes the context of a forward pass (autocast, say).
    """

    training: bool = True
    rows: bool = True
    passes: Callable[[], AbstractContextManager[Any]] = nullcontext


def find_plan(
    network: nn.Module, tuned: Collection[str], images: Tensor, how: Conditions = Conditions()
) -> Plan:
    """What may answer from memory while the tensors `tuned` learn, all others being frozen (`surgicalft.freezing`).

    images: (n, c, h, w), n >= 2, as the network takes them; different ones, so that what depends on them shows. Where
    the trial fails, everything is computed, and the plan's `reason` says why.
    """
    with untouched_randomness():
        try:
            return _Trial(network, tuple(tuned), images, how).plan()
        except _Refused as error:
            return Plan(reason=str(error))
        except Exception as error:  # the network's own code, which may raise anything
            return Plan(reason=f"the trial failed: {type(error).__name__}: {error}"[:300])


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Afterwards the global generators of PyTorch, NumPy and Python stand where they stood."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    state, states = torch.get_rng_state(), torch.cuda.get_rng_state_all() if cuda else []
    others = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        if not torch.equal(state, torch.get_rng_state()):  # else another thread may be drawing
            torch.set_rng_state(state)
        if states:
            torch.cuda.set_rng_state_all(states)
        if random.getstate() != others[0]:
            random.setstate(others[0])
        if not _same_numpy(others[1]):
            np.random.set_state(others[1])


def _same_numpy(state: Any) -> bool:
    now = np.random.get_state()
    return now[2] == state[2] and bool((now[1] == state[1]).all())  # type: ignore[index]


class _Refused(Exception):
    """There is no plan, for this reason."""


@dataclass
class _Watched:
    """What the watched pass told."""

    watch: Watch
    findings: Findings
    images: int
    results: list[Place]
    start: dict[int, int]  # what storages depend on at first


@dataclass
class _Reference:
    """The plain pass that the answering one must equal."""

    state: Tensor  # of the random generator before it
    result: Tensor
    gradients: list[Tensor | None]
    buffers: list[Tensor]
    seen: Seen = field(repr=False)


class _Trial:
    def __init__(
        self, network: nn.Module, tuned: tuple[str, ...], images: Tensor, how: Conditions
    ) -> None:
        if how.rows and len(images) < 2:
            raise ValueError(
                "a trial takes two images or more, to see whether they matter to each other"
            )
        self.network, self.tuned, self.images, self.how = network, tuned, images, how
        self.candidates = _largest(network, {id(t) for t in _named(network, tuned)})

    def plan(self) -> Plan:
        told: set[Call] = set()
        for _ in range(ROUNDS):
            if not _weighty(self.candidates.values()):
                raise _Refused(NOTHING)
            accepted = self._look()
            told, _ = self._told_apart(accepted)
            if not self._looked_inside(told):
                break
        plan = self._settle(told)
        self._check(plan)
        return plan

    # --- which calls

    def _look(self) -> set[Call]:
        """The calls whose outputs stay the same."""
        twin = copy_network(self.network)
        self._check_copy(twin)
        twin.train(self.how.training)
        start = _attributes(twin)
        self.reference = self._reference(twin)
        after = _attributes(twin)
        with torch.no_grad():
            for tensor in _named(twin, self.tuned):
                _alter(tensor)
        self.watched, second = self._watch(twin, _rebound(start, after), self.images)
        self._check_attributes(after, _attributes(twin))
        found = self.watched.findings
        if found.decides & (TUNED | RANDOM | IMAGES):
            raise _Refused("the network's forward decides by values that it has computed")
        first = self.reference.seen
        if list(first) != list(second):
            raise _Refused("the network's modules are not called alike in two passes")
        wrong = {call: self._structural(call) for call in first}
        self.kept: Seen = {}
        if not all(wrong.values()):  # else there is nothing left to compare
            self._numerical(twin, second, wrong)
        return {call for call, why in wrong.items() if not why}

    def _structural(self, call: Call) -> set[str]:
        known = self.watched.findings.calls[call]
        wrong = set(known.faults)
        if known.output & (TUNED | RANDOM):
            wrong.add("depends on what learns or on chance")
        leaves = [n for _, n in _leaves(self.watched.watch, call)]
        if len(set(leaves)) < len(leaves):
            wrong.add("gives the same memory twice")
        if not known.output & IMAGES:
            wrong.add("does not depend on the images")
        return wrong

    def _numerical(self, twin: nn.Module, second: Seen, wrong: dict[Call, set[str]]) -> None:
        """Adds to `wrong`; `second` was seen with other weights than the first."""
        first = self.reference.seen
        _compare(first, second, wrong, "changes", _equal)
        if self.how.rows:
            others, other = self._watch(twin, [], _neighbours(self.images))
            _compare(first, other, wrong, "depends on the batch", _first_row_equal)
            for call in depend_on_the_batch(self.watched.watch, others.watch, _equal):
                wrong[call].add("depends on the batch")
            self._other_batches(twin, wrong)
        self._same_way(twin, wrong)
        twin.eval()
        with torch.no_grad():
            self.kept, _ = self._pass(twin, self.images)
            _compare(first, self.kept, wrong, "is another in evaluation mode", _close)
            if self.how.rows:
                alone, _ = self._pass(twin, self.images[:1])
                _compare(first, alone, wrong, "is another for an image alone", _first_row_close)
        for call, (_, leaves) in self.kept.items():
            tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
            if not tensors or any(t.ndim < 1 or len(t) != len(self.images) for t in tensors):
                wrong[call].add("has no row for each image")

    def _other_batches(self, twin: nn.Module, wrong: dict[Call, set[str]]) -> None:
        """In another order, and among more or fewer, every image must give what it gave; and nothing may be made of
        several images at once, which some images might not show."""
        first, n = self.reference.seen, len(self.images)
        for rows in (torch.arange(n).roll(1), *(torch.arange(k) % n for k in SIZES)):
            with torch.no_grad():
                found, _ = self._pass(twin, self.images[rows.to(self.images.device)])
            moved: Seen = {
                call: (tree, [_rows(leaf, rows) for leaf in leaves])
                for call, (tree, leaves) in first.items()
            }
            _compare(moved, found, wrong, "depends on the batch", _close)
        more = self.images[(torch.arange(2 * n) % n).to(self.images.device)]
        try:
            mixed = mixes_images(self.watched.watch, self._watch(twin, [], more)[0].watch)
        except ValueError as error:
            raise _Refused(str(error)) from error
        findings = facts(self.watched.watch, self.watched.start, mixed)
        for call, known in findings.calls.items():
            if known.output & MIXED:
                wrong[call].add("depends on the batch")

    def _same_way(self, twin: nn.Module, wrong: dict[Call, set[str]]) -> None:
        """What is kept comes from evaluation mode: there the same operations must lead to a call."""
        mode = twin.training
        other = self._watch(twin.eval(), [], self.images)[0].watch
        twin.train(mode)
        one, two = (_names(watch) for watch in (self.watched.watch, other))
        for call, names in one.items():
            if two.get(call) != names:
                wrong[call].add("is reached in another way in evaluation mode")

    def _check_copy(self, twin: nn.Module) -> None:
        """The copy must compute with its own tensors, tied as the network's are."""
        own, copied = _places(self.network), _places(twin)
        if set(own) & set(copied) - {0} or _ties(own) != _ties(copied):
            raise _Refused("a copy of the network shares tensors with it, or ties others")
        watch = Watch(len(self.images))
        with torch.no_grad(), self.how.passes(), watch:
            twin.eval()(self.images.clone())
        if watch.seen & set(own) - {0}:
            raise _Refused("a copy of the network computes with the network's own tensors")
        reads = Reads()  # in a pass of its own: some layers take another way within such a context
        with torch.no_grad(), self.how.passes(), reads:
            twin(self.images.clone())
        if reads.found:
            raise _Refused("the network's forward reads values into Python (tolist, numpy)")

    def _looked_inside(self, accepted: set[Call]) -> bool:
        """Whether there are candidates that may not answer as a whole though what they are given is known: from now on
        their children are looked at instead."""
        first, known = self.reference.seen, self.watched.findings.calls
        opened = set()
        for name, module in self.candidates.items():
            calls = [call for call in first if call[0] == name]
            clean = [call for call in calls if not known[call].inputs & (TUNED | RANDOM)]
            useless = not accepted.intersection(calls) and (clean or not calls)
            if useless and any(module.children()) and _weighty([module]):
                opened.add(name)
        found: dict[str, nn.Module] = {}
        for name, module in self.candidates.items():
            inner = {f"{name}.{n}": m for n, m in _largest(module, set()).items()}
            found |= inner if name in opened else {name: module}
        self.candidates = _outermost(found)
        return bool(opened)

    # --- passes

    def _pass(self, twin: nn.Module, images: Tensor) -> tuple[Seen, Any]:
        """The outputs of candidates' calls, copied, and that of the network."""
        seen: Seen = {}
        open_: list[Call] = []

        def note(call: Call, forward: Any, args: Any, kwargs: Any) -> Any:
            if open_:
                return forward(*args, **kwargs)
            open_.append(call)
            result = forward(*args, **kwargs)
            open_.pop()
            seen[call] = _copied(result)
            return result

        modules = {name: twin.get_submodule(name) for name in self.candidates}
        with intercepted(modules, note), self.how.passes():
            return seen, twin(images.clone())

    def _reference(self, twin: nn.Module) -> _Reference:
        state = torch.get_rng_state()
        before = random.getstate(), np.random.get_state()
        with torch.enable_grad():
            seen, result = self._pass(twin, self.images)
            if random.getstate() != before[0] or not _same_numpy(before[1]):
                raise _Refused("the network draws from Python's or NumPy's random numbers")
            gradients = _gradients(result, _named(twin, self.tuned))
        buffers = [buffer.clone() for buffer in twin.buffers()]
        return _Reference(state, result.detach().clone(), gradients, buffers, seen)

    def _watch(
        self, twin: nn.Module, rebound: list[Tensor], images: Tensor
    ) -> tuple[_Watched, Seen]:
        """A pass that is followed; what was `rebound` in the one before may be another in each."""
        watch, seen = Watch(len(images)), Seen()

        def note(call: Call, forward: Any, args: Any, kwargs: Any) -> Any:
            if not watch.enter(call, (args, kwargs)):
                return forward(*args, **kwargs)
            result = watch.leave(call, forward(*args, **kwargs))
            with watch.pause():
                seen[call] = _copied(result)
            return result

        modules = {name: twin.get_submodule(name) for name in self.candidates}
        images = images.clone()
        with (
            torch.enable_grad(),
            intercepted(modules, note),
            self.how.passes(),
            watch,
        ):
            number = watch.begin(images)
            result = twin(images)
        changing = [*_named(twin, self.tuned), *rebound]
        depends = {watch.number(t): TUNED for t in changing} | {number: IMAGES}
        findings = facts(watch, depends)
        depends |= dict.fromkeys(
            findings.states, TUNED
        )  # what is written in one pass is read in the next
        findings = facts(watch, depends)
        return _Watched(watch, findings, number, [watch.place(result)], depends), seen

    def _check_attributes(self, before: dict[Any, Any], after: dict[Any, Any]) -> None:
        """Where a pass leaves numbers behind, the next may be another, and when cannot be known."""
        changed = (key for key in before.keys() | after.keys() if _differs(before, after, key))
        if where := min((f"{key[0]}.{key[1]}".strip(".") for key in changed), default=""):
            raise _Refused(f"the network counts or remembers something in Python, in {where!r}")

    # --- the plan

    def _settle(self, accepted: set[Call]) -> Plan:
        """The plan that keeps least: calls without parameters answer only if it takes more to keep their inputs."""
        accepted, found = self._told_apart(accepted)
        plan = self._plan(accepted, found)
        light = [call for call in self.kept if not _weighty([self.candidates[call[0]]])]
        for call in (call for call in light if call in accepted):
            fewer, found = self._told_apart(accepted - {call})
            other = self._plan(fewer, found)
            if self._size(other) < self._size(plan):
                accepted, plan = fewer, other
        if not _weighty(self.candidates[name] for name, _ in accepted):
            raise _Refused(NOTHING)
        return plan

    def _size(self, plan: Plan) -> int:
        """Bytes of an image that have to be there, its own too if it is read."""
        return plan.nbytes + plan.reads_images * self.images[0].numel()

    def _told_apart(self, accepted: set[Call]) -> tuple[set[Call], Needs]:
        seen = self.watched
        while True:
            found = needs(seen.watch, accepted, seen.images, seen.results)
            if not found.excluded:
                return accepted, found
            accepted = accepted - found.excluded

    def _plan(self, accepted: set[Call], found: Needs) -> Plan:
        outputs = {call: _output(*self.kept[call]) for call in self.kept if call in accepted}
        order = [(*call, i) for call in outputs for i in range(len(outputs[call].leaves))]
        kept = tuple(leaf for leaf in order if leaf in found.kept)
        return Plan(outputs, kept, found.images)

    def _check(self, plan: Plan) -> None:
        """A pass with answers must equal the plain one, or the plan is refused."""
        twin = copy_network(self.network).train(self.how.training)
        answering, expected = Answering(twin, plan), self.reference
        torch.set_rng_state(expected.state)
        with torch.enable_grad():
            result = self._answered(answering, plan)
            gradients = _gradients(result, _named(twin, self.tuned))
        _agree("outputs", [result.detach()], [expected.result])
        _agree("gradients", gradients, expected.gradients)
        _agree("buffers", list(twin.buffers()), expected.buffers)
        twin.eval()
        with torch.no_grad(), self.how.passes():
            plain = twin(self.images.clone())
        with torch.no_grad():
            _agree("outputs in evaluation mode", [self._answered(answering, plan)], [plain])

    def _answered(self, answering: Answering, plan: Plan) -> Tensor:
        kept = {leaf: _through_memory(plan.layout(leaf), self._leaf(leaf)) for leaf in plan.kept}
        images = self.images.clone()
        if not plan.reads_images:
            images = Layout.of(images).placeholder(len(images), images.device)
        with self.how.passes():
            result: Tensor = answering(images, kept)
        return result

    def _leaf(self, leaf: Leaf) -> Tensor:
        value = self.kept[leaf[0], leaf[1]][1][leaf[2]]
        assert isinstance(value, Tensor)
        return value


def _rows(leaf: Any, rows: Tensor) -> Any:
    n = int(rows.max()) + 1
    fits = isinstance(leaf, Tensor) and leaf.ndim and len(leaf) >= n
    return leaf[rows.to(leaf.device)] if fits else leaf


def _leaves(watch: Watch, call: Call) -> tuple[tuple[Leaf, int], ...]:
    return next((e.leaves for e in watch.log if isinstance(e, Leave) and e.call == call), ())


def _names(watch: Watch) -> dict[Call, tuple[str, ...]]:
    """By call, the operations outside of calls in front of it."""
    found: dict[Call, tuple[str, ...]] = {}
    names: list[str] = []
    for event in watch.log:
        if isinstance(event, Operation) and event.call is None:
            names.append(event.name)
        elif isinstance(event, Enter):
            found[event.call] = tuple(names)
    return found


def _places(network: nn.Module) -> list[int]:
    """Where parameters and buffers lie in memory."""
    tensors = [
        *network.named_parameters(remove_duplicate=False),
        *network.named_buffers(remove_duplicate=False),
    ]
    return [tensor.untyped_storage().data_ptr() for _, tensor in tensors]


def _ties(places: list[int]) -> list[int]:
    return [places.index(place) if place else -1 for place in places]


def _named(network: nn.Module, names: Collection[str]) -> list[Tensor]:
    """Parameters, or buffers, of these names."""
    known: dict[str, Tensor] = dict(network.named_buffers(remove_duplicate=False))
    known |= dict(network.named_parameters(remove_duplicate=False))
    return [known[name] for name in names]


def _largest(module: nn.Module, tuned: set[int]) -> dict[str, nn.Module]:
    """The largest modules below this one that hold no tuned tensor and no hooks, by name."""
    found: dict[str, nn.Module] = {}

    def visit(name: str, part: nn.Module) -> None:
        if isinstance(part, torch.jit.ScriptModule):
            return
        own = (*part.parameters(), *part.buffers())
        callable_ = not isinstance(part, nn.ModuleList | nn.ModuleDict)
        if callable_ and not any(id(t) in tuned for t in own) and not _hooked(part):
            found.setdefault(name, part)
            return
        for child, inner in part.named_children():
            visit(f"{name}.{child}", inner)

    for child, part in module.named_children():
        visit(child, part)
    return _outermost(found)


def _outermost(modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Each module once, and without those that are part of another."""
    inner = {id(m) for part in modules.values() for m in part.modules() if m is not part}
    found: dict[int, str] = {}
    for name, module in modules.items():
        if id(module) not in inner:
            found.setdefault(id(module), name)
    return {name: modules[name] for name in found.values()}


def _hooked(module: nn.Module) -> bool:
    return any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in module.modules()
    )


def _weighty(modules: Any) -> bool:
    """Whether there are parameters: what has none, such as scaling, takes less to compute than to keep."""
    return any(True for module in modules for _ in module.parameters())


def _alter(tensor: Tensor) -> None:
    """Change it a good deal, the same way each time."""
    if not tensor.is_floating_point() or not tensor.numel():
        return
    steps = torch.linspace(-1, 1, tensor.numel(), device=tensor.device, dtype=tensor.dtype)
    size = tensor.std(correction=0).clamp(min=0.1)
    tensor.add_(size * (steps.view(tensor.shape) + 0.1))


def _neighbours(images: Tensor) -> Tensor:
    """The first image with others around it: black, white, and negatives."""
    others = [torch.zeros_like(images[:1]), torch.ones_like(images[:1]), 1 - images[1:]]
    return torch.cat([images[:1], *others])[: len(images)].clone(
        memory_format=torch.preserve_format
    )


def _copied(result: Any) -> tuple[Any, list[Any]]:
    leaves, tree = tree_flatten(result)
    copies = [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    return tree, copies


def _output(tree: Any, leaves: list[Any]) -> Output:
    return Output(
        tree, tuple(Layout.of(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves)
    )


def _through_memory(layout: Layout, value: Tensor) -> Tensor:
    return layout.as_output(layout.as_rows(value).contiguous().clone())


def _gradients(result: Any, tuned: list[Tensor]) -> list[Tensor | None]:
    """Of a cross-entropy, for labels 0, 1, ...; tensors that take none are left out with None."""
    if not isinstance(result, Tensor) or result.ndim != 2:
        raise _Refused("the network does not return one tensor (n, classes)")
    learning = [t for t in tuned if t.requires_grad]
    if not result.requires_grad:
        raise _Refused("the network's output does not depend on what is tuned")
    labels = torch.arange(len(result), device=result.device) % result.shape[1]
    loss = F.cross_entropy(result.float(), labels)
    return list(torch.autograd.grad(loss, learning, allow_unused=True))


# --- comparisons

Same = Callable[[Tensor, Tensor], bool]


def _compare(first: Seen, other: Seen, wrong: dict[Call, set[str]], what: str, same: Same) -> None:
    for call, (tree, leaves) in first.items():
        if call not in other or other[call][0] != tree:
            wrong[call].add(what)
            continue
        for a, b in zip(leaves, other[call][1], strict=True):
            if isinstance(a, Tensor) and isinstance(b, Tensor):
                right = a.dtype == b.dtype and a.ndim == b.ndim and same(a, b)
            else:
                right = type(a) is type(b) and a == b
            if not right:
                wrong[call].add(what)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Bit for bit; NaN equals NaN."""
    if a.shape != b.shape:
        return False
    same = a == b
    return (
        bool((same | (a.isnan() & b.isnan())).all()) if a.is_floating_point() else bool(same.all())
    )


def _close(a: Tensor, b: Tensor) -> bool:
    """To rounding."""
    if a.shape != b.shape or not a.is_floating_point():
        return _equal(a, b)
    bound = 1e-3 if a.dtype.itemsize >= 4 else 5e-2
    scale = b[b.isfinite()].abs().max().item() if b.isfinite().any() else 1.0
    return torch.allclose(a, b, rtol=bound, atol=bound * 0.1 * scale, equal_nan=True)


def _first_row_equal(a: Tensor, b: Tensor) -> bool:
    return a.ndim > 0 and a.shape == b.shape and _equal(a[:1], b[:1])


def _first_row_close(a: Tensor, b: Tensor) -> bool:
    return a.ndim > 0 and _close(a[:1], b[:1])


def _agree(
    what: str, found: list[Any], expected: list[Any], rtol: float = 1e-3, atol: float = 1e-6
) -> None:
    """By the length of the difference; _Refused if it is not rounding."""
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        if (a is None) != (b is None):
            raise _Refused(f"with answers from memory, {what} are lacking that the plain pass has")
        if a is None:
            continue
        if a.shape != b.shape:
            raise _Refused(f"with answers from memory, {what} have another shape")
        difference, size = (a.double() - b.double()).norm().item(), b.double().norm().item()
        bound = (rtol if a.dtype.itemsize >= 4 or not a.is_floating_point() else 5e-2) * size + atol
        if not (difference <= bound or _equal(a, b)):
            raise _Refused(
                f"with answers from memory, {what} differ by {difference / max(size, 1e-30):.1e} (number {i})"
            )


# --- what modules keep in Python

_OWN = frozenset(vars(nn.Module())) | {"forward"}


def _attributes(network: nn.Module) -> dict[Any, Any]:
    """(module, attribute, place in it) -> plain value or tensor; without what PyTorch itself keeps there."""
    found: dict[Any, Any] = {}

    def note(key: tuple[Any, ...], value: Any, depth: int = 4) -> None:
        if isinstance(value, Tensor | bool | int | float | str | bytes | None):
            found[key] = value
        elif isinstance(value, dict) and depth:
            for k, item in value.items():
                note((*key, str(k)), item, depth - 1)
        elif isinstance(value, random.Random):
            found[key] = hash(value.getstate())
        elif isinstance(value, np.random.Generator):
            found[key] = str(value.bit_generator.state)
        elif isinstance(value, torch.Generator):
            found[key] = hash(value.get_state().numpy().tobytes())
        elif isinstance(value, np.ndarray | complex):
            found[key] = str(value) if isinstance(value, complex) else hash(value.tobytes())
        elif isinstance(value, itertools.count):
            found[key] = repr(value)
        elif isinstance(value, FunctionType) and depth:
            for i, cell in enumerate(value.__closure__ or ()):
                note((*key, i), cell.cell_contents, depth - 1)
        elif isinstance(value, list | tuple | set | deque) and depth and len(value) < 100_000:
            count = (*key, "len")
            found[count] = len(value)
            for i, item in enumerate(value):
                note((*key, i), item, depth - 1)
        elif hasattr(value, "__dict__") and depth and not isinstance(value, nn.Module | type):
            note((*key, "attributes"), vars(value), depth - 1)

    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in _OWN:
                note((name, attribute), value)
        for attribute, value in module._buffers.items():
            note((name, attribute), value)
        for kind in type(module).__mro__:
            if not kind.__module__.startswith(("torch.", "builtins")):
                for attribute, value in vars(kind).items():
                    if isinstance(value, int | float | list | dict):
                        note((name, f"class {attribute}"), value)
    return found


def _differs(before: dict[Any, Any], after: dict[Any, Any], key: Any) -> bool:
    """Whether a plain value is another; tensors are followed by other means."""
    if key not in before or key not in after:
        return not isinstance(before.get(key, after.get(key)), Tensor)
    a, b = before[key], after[key]
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) != isinstance(b, Tensor)
    return type(a) is not type(b) or (a != b and a == a)


def _rebound(before: dict[Any, Any], after: dict[Any, Any]) -> list[Tensor]:
    """Tensors that a pass has put in the place of others."""
    return [
        value
        for key, value in after.items()
        if isinstance(value, Tensor) and before.get(key) is not value
    ]
