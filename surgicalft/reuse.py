"""Frozen modules answer from memory: what cannot change is computed once per image, and the network is never rewritten.

The network's own `forward` always runs. For the time of one call some of its modules have an instance attribute
`forward` that answers instead of computing: with the output kept for these images, or, if only other answering modules
would read it, with a `Placeholder`, which has a shape and no values. Which modules may do so is a `Plan`, found by
trial on a copy (`surgicalft.trial`). The outputs of a whole split are kept by `surgicalft.memory`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten

from surgicalft.given_network import kept_tensors

Call = tuple[str, int]  # a module's name, and which of its calls in one pass, from 0
Leaf = tuple[str, int, int]  # a call, and which tensor of its output
Handle = Callable[[Call, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

COMPUTED = "everything is computed: "
NOTHING = "nothing frozen in front of what learns"
NOTHING_LEARNS = "nothing learns"


class ValuesNeeded(RuntimeError):
    """Something read the values of a placeholder: the network does otherwise than in the trial."""


class OtherPath(RuntimeError):
    """The network called its modules otherwise than in the trial."""


@dataclass(frozen=True)
class Layout:
    """One tensor of a module's output for n images, (n, *shape), and the order of its dimensions in memory."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    order: tuple[int, ...]

    @classmethod
    def of(cls, value: Tensor) -> "Layout":
        """That of an output whose first dimension is the images."""
        strides = value.stride()
        order = sorted(range(value.ndim), key=lambda d: (d > 0, -strides[d], d))
        dense = value.permute(order).is_contiguous()
        return cls(
            tuple(value.shape[1:]), value.dtype, tuple(order if dense else range(value.ndim))
        )

    @property
    def nbytes(self) -> int:
        """Of one image."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of one image's values as they lie in memory."""
        return tuple(self.shape[d - 1] for d in self.order[1:])

    def as_rows(self, value: Tensor) -> Tensor:
        """(n, *shape) -> (n, *row)."""
        return value.permute(self.order)

    def as_output(self, rows: Tensor) -> Tensor:
        """(n, *row) -> (n, *shape), with the strides that the module's output had."""
        return rows.permute([self.order.index(d) for d in range(len(self.order))])

    def placeholder(self, n: int, device: torch.device) -> "Placeholder":
        """For n images."""
        meta = self.as_output(torch.empty(n, *self.row, dtype=self.dtype, device="meta"))
        return Placeholder(meta, device)


@dataclass(frozen=True)
class Output:
    """What one call returns: `tree` with these tensors and constants as leaves."""

    tree: TreeSpec
    leaves: tuple[Any, ...]  # a Layout for each tensor, else the constant itself


@dataclass(frozen=True)
class Plan:
    """Which calls answer from memory (`outputs`), what is `kept` for that, and whether the forward reads the images.

    Without any, `reason` says why; where there is simply nothing frozen in front of what learns it says that.
    """

    outputs: Mapping[Call, Output] = field(default_factory=dict)
    kept: tuple[Leaf, ...] = ()
    reads_images: bool = True
    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.outputs)

    def layout(self, leaf: Leaf) -> Layout:
        """Of one tensor of an answering call's output."""
        name, number, index = leaf
        found = self.outputs[name, number].leaves[index]
        assert isinstance(found, Layout)
        return found

    @cached_property
    def nbytes(self) -> int:
        """What is kept of one image."""
        return sum(self.layout(leaf).nbytes for leaf in self.kept)

    def __str__(self) -> str:
        if not self:
            return f"{COMPUTED}{self.reason}"
        names = list(
            dict.fromkeys(f"{name} (call {i + 1})" if i else name for name, i, _ in self.kept)
        )
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"{len(self.outputs)} calls answer from memory; kept: {', '.join(names[:3])}{more}"


class Placeholder(Tensor):
    """A tensor with shape, strides, type and device, but no values and no memory.

    Operations on it that need shapes only give placeholders. What needs values raises ValuesNeeded: writing into a
    real tensor, and reading a number.
    """

    @staticmethod
    def __new__(cls, meta: Tensor, device: torch.device) -> "Placeholder":
        return Tensor._make_wrapper_subclass(
            cls, meta.shape, strides=meta.stride(), dtype=meta.dtype, device=device
        )

    def __init__(self, meta: Tensor, device: torch.device) -> None:
        self.meta = meta

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        mutable = written(func, args, kwargs)
        if any(isinstance(v, Tensor) and not isinstance(v, Placeholder) for v in mutable):
            raise ValuesNeeded(f"{func} writes what was not kept into a tensor")
        held = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Placeholder)]
        given = {id(value.meta): value for value in held}
        device = torch.device(kwargs["device"]) if kwargs.get("device") else held[0].device
        result = _on_meta(func, args, kwargs, bool(mutable))

        def wrap(value: Any) -> Any:
            if isinstance(value, Tensor):
                own = given.get(id(value))
                return Placeholder(value, device) if own is None else own
            if isinstance(value, bool | int | float):
                raise ValuesNeeded(f"{func} reads a number that was not kept")
            return value

        return tree_map(wrap, result)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Placeholder({tuple(self.shape)}, {self.dtype})"


_RESULTS: dict[
    Any, Any
] = {}  # of operations on meta tensors, which take long to find: by operation and shapes
MOST_RESULTS = 10_000


def _on_meta(func: Any, args: Any, kwargs: Any, mutable: bool) -> Any:
    """The result on tensors without values."""
    leaves, tree = tree_flatten((args, kwargs))
    key = None if mutable else (func, str(tree), *map(_shape, leaves))
    try:
        if key in _RESULTS:
            return _RESULTS[key]
    except TypeError:  # an argument that has no hash
        key = None
    device = torch.device("meta")
    meta = [_meta(leaf) for leaf in leaves]
    meta = [device if isinstance(leaf, torch.device) else leaf for leaf in meta]
    meta_args, meta_kwargs = tree_unflatten(meta, tree)
    try:
        result = func(*meta_args, **meta_kwargs)
    except Exception as error:
        raise ValuesNeeded(f"{func} needs values that were not kept: {error}") from error
    if key is not None and len(_RESULTS) < MOST_RESULTS:
        _RESULTS[key] = result
    return result


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return type(value) is Placeholder, value.shape, value.stride(), value.dtype
    return type(value), value


def _meta(value: Any) -> Any:
    if isinstance(value, Placeholder):
        return value.meta
    return value.to("meta") if isinstance(value, Tensor) else value


def written(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments that an operation writes into."""
    found: list[Any] = []
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            found += value if isinstance(value, list | tuple) else [value]
    return found


@contextmanager
def intercepted(modules: Mapping[str, nn.Module], handle: Handle) -> Iterator[Counter[str]]:
    """Within, a call of one of the modules is `handle(call, forward, args, kwargs)`; yields how often each was called.

    An instance attribute `forward` does it, which is taken off again whatever happens.
    """
    counts: Counter[str] = Counter()

    def stand_in(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            call = name, counts[name]
            counts[name] += 1
            return handle(call, forward, args, kwargs)

        return answer

    before = {name: module.__dict__.get("forward") for name, module in modules.items()}
    try:
        for name, module in modules.items():
            module.__dict__["forward"] = stand_in(name, module.forward)
        yield counts
    finally:
        for name, module in modules.items():
            module.__dict__.pop("forward", None)
            if before[name] is not None:
                module.__dict__["forward"] = before[name]


@torch.no_grad()
def refresh(network: nn.Module, images: Tensor) -> None:
    """A plain pass, if modules have kept placeholders among their attributes, as they keep activations."""
    kept = (t for module in network.modules() for t in kept_tensors(vars(module)))
    if any(isinstance(tensor, Placeholder) for tensor in kept):
        network.eval()(images)


class _AllThere(BaseException):
    """Ends a pass in which nothing else is wanted."""


class Answering:
    """`network` with modules that answer from memory as `plan` says; without a plan it computes everything.

    For one thread. The network is in the mode that it was left in.
    """

    def __init__(self, network: nn.Module, plan: Plan) -> None:
        self.network, self.plan = network, plan
        self._modules = {name: network.get_submodule(name) for name, _ in plan.outputs}
        self._expected = Counter(name for name, _ in plan.outputs)
        self._empty: dict[tuple[Leaf, int], Placeholder] = {}

    def __call__(self, images: Tensor, kept: Mapping[Leaf, Tensor] | None = None) -> Any:
        """What the network returns for images (n, c, h, w), a Placeholder if the plan does not read them.

        `kept` holds (n, ...) for each leaf that is kept, which the network may change in place.
        """
        if not self.plan:
            return self.network(images)
        assert kept is not None
        n = len(images)
        answered: Counter[str] = Counter()

        def answer(call: Call, forward: Any, args: Any, kwargs: Any) -> Any:
            output = self.plan.outputs.get(call)
            if output is None:
                return forward(*args, **kwargs)
            answered[call[0]] += 1
            values = [
                self._value((*call, i), leaf, kept, n, images.device)
                for i, leaf in enumerate(output.leaves)
            ]
            return tree_unflatten(values, output.tree)

        with intercepted(self._modules, answer):
            result = self.network(images)
        if answered != self._expected:
            raise OtherPath(
                f"modules were called {dict(answered)} times, in the trial {dict(self._expected)}"
            )
        if isinstance(result, Placeholder):
            raise ValuesNeeded("the network's output was not kept")
        return result

    @torch.no_grad()
    def remember(self, images: Tensor) -> dict[Leaf, Tensor]:
        """What is kept of these images, by a pass in evaluation mode that ends as soon as all is there."""
        found: dict[Leaf, Tensor] = {}
        wanted = set(self.plan.kept)

        def note(call: Call, forward: Any, args: Any, kwargs: Any) -> Any:
            result = forward(*args, **kwargs)
            for i, leaf in enumerate(tree_leaves(result)):
                place = (*call, i)
                if place in wanted:
                    found[place] = leaf.clone()
            if len(found) == len(wanted):
                raise _AllThere
            return result

        if wanted:
            self.network.eval()
            try:
                with intercepted(self._modules, note):
                    self.network(images)
            except _AllThere:
                pass
        if len(found) < len(wanted):
            raise OtherPath(
                f"{sorted(wanted - set(found))} were not called, as they were in the trial"
            )
        for leaf, value in found.items():
            layout = self.plan.layout(leaf)
            if (tuple(value.shape), value.dtype) != ((len(images), *layout.shape), layout.dtype):
                raise OtherPath(
                    f"{leaf} is {value.dtype} {tuple(value.shape)}, in the trial {layout}"
                )
        return found

    def _value(
        self, leaf: Leaf, layout: Any, kept: Mapping[Leaf, Tensor], n: int, device: torch.device
    ) -> Any:
        if not isinstance(layout, Layout):
            return layout
        if leaf in kept:
            return kept[leaf]
        if (leaf, n) not in self._empty:
            self._empty[leaf, n] = layout.placeholder(n, device)
        return self._empty[leaf, n]
