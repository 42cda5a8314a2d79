"""Cuts a network where tuning begins: what lies in front cannot change and is computed once per image.

`split(model, tuned)` traces the network with torch.fx and gives a *prefix*, every operation that depends on
no tuned parameter, and a *suffix*, all the others. For fixed images the prefix's outputs are constants of the
whole run, so they are computed once and kept (`surgicalft.features`), without a graph for gradients. A network that
torch.fx cannot trace, or that behaves otherwise when traced, is left whole: slower, same results.
"""

import operator
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from surgicalft.fold import fold

Features = tuple[Tensor, ...]
SIZES = ("shape", "dtype", "device", "ndim", "size", "dim")


@dataclass(frozen=True)
class Split:
    """prefix: images (n, c, h, w) -> features, a tuple of tensors (n, ...); suffix: features -> logits.

    `cut` names the point of the cut, "" where nothing lies in front of it; equal cuts of networks with equal
    frozen weights have equal features.
    """

    prefix: nn.Module
    suffix: nn.Module
    cut: str


class Whole(nn.Module):
    """A network as the suffix of an empty prefix."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


class Images(nn.Module):
    """The empty prefix: the images themselves are the features."""

    def forward(self, images: Tensor) -> Features:
        return (images,)


def whole(model: nn.Module) -> Split:
    """The network uncut."""
    return Split(Images(), Whole(model), "")


def split(
    model: nn.Module, graph: fx.Graph | None, tuned: Collection[str], example: Tensor
) -> Split:
    """Cut `model` in front of the first operation that uses one of the `tuned` parameters.

    `graph` is `trace(model)`, and `model` is frozen by `surgicalft.freezing.freeze`. Both parts are folded (see
    `surgicalft.fold`) and share what learns with `model`; what is frozen there should stay as it is.
    `example` holds two or more images on which the cut is checked against the whole; where it differs, or
    there is no graph, the result is `whole(model)`.
    """
    if graph is None:
        return whole(model)
    parts = _cut(model, graph, _moving(graph, model, set(tuned)))
    if parts and not list(parts.prefix.parameters()):  # mere scaling: bytes are smaller to keep
        parts = _cut(model, graph, {node for node in graph.nodes if node.op != "placeholder"})
    return parts if parts and _agrees(parts, model, example) else whole(model)


def trace(model: nn.Module) -> fx.Graph | None:
    """The network's graph in training mode, or None where it has none.

    It names parameters and layers and holds none, so that one graph serves every copy of a network. One that
    behaves otherwise in evaluation mode is found out by `split`, which compares there. torch.fx patches
    torch.nn.Module while it traces: no other thread may use any network meanwhile.
    """
    training = model.training
    try:
        return fx.Tracer().trace(model.train())
    except Exception:  # tracing runs the model's own code on proxies, which may raise anything
        return None
    finally:
        model.train(training)


def _cut(model: nn.Module, graph: fx.Graph, moving: set[fx.Node]) -> Split | None:
    """The parts in front of `moving` and of it, None where nothing computed from the images lies between."""
    free = _free(graph)
    crossing = [n for n in graph.nodes if n not in moving and _crosses(n, moving, free)]
    if not crossing:
        return None
    prefix = fold(_module(model, _prefix(graph, moving, crossing)))
    suffix = fold(_module(model, _suffix(graph, moving, crossing, free)))
    computed = any(node.op != "placeholder" for node in crossing)
    return Split(prefix, suffix, ",".join(node.name for node in crossing) if computed else "")


def _moving(graph: fx.Graph, model: nn.Module, tuned: set[str]) -> set[fx.Node]:
    """The nodes whose value depends on a tuned parameter, and the output."""
    named = model.named_parameters(remove_duplicate=False)
    ids = {id(parameter) for name, parameter in named if name in tuned}
    moving: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "output" or _uses(node, model, ids) or moving & set(node.all_input_nodes):
            moving.add(node)
    return moving


def _uses(node: fx.Node, model: nn.Module, tuned: set[int]) -> bool:
    """Whether the node itself reads a tuned parameter; parameters shared by two modules count in both."""
    if node.op == "get_attr":
        return id(operator.attrgetter(str(node.target))(model)) in tuned
    if node.op != "call_module":
        return False
    layer = model.get_submodule(str(node.target))
    return any(id(parameter) in tuned for parameter in layer.parameters())


def _free(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that need no tensor computed from the images, but for its shape, type or device.

    Parameters and what is computed from these alone: not worth keeping, and not one row per image.
    """
    free: set[fx.Node] = set()
    for node in graph.nodes:
        known = node.op != "placeholder" and free.issuperset(node.all_input_nodes)
        if known or _reads_size(node):
            free.add(node)
    return free


def _reads_size(node: fx.Node) -> bool:
    name = node.args[1] if node.target is getattr else node.target
    return node.op in ("call_function", "call_method") and name in SIZES


def _crosses(node: fx.Node, moving: set[fx.Node], free: set[fx.Node]) -> bool:
    """A tensor computed from the images in front of the cut and used behind it, if only for its size."""
    if node in free:
        return False
    readers = list(node.users)
    for reader in readers:  # grows meanwhile
        readers += reader.users if reader in free else ()
    return any(reader in moving for reader in readers)


def _prefix(graph: fx.Graph, moving: set[fx.Node], crossing: list[fx.Node]) -> fx.Graph:
    new = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node not in moving:
            copies[node] = new.node_copy(node, copies.__getitem__)
    new.output(tuple(copies[node] for node in crossing))
    return new


def _suffix(
    graph: fx.Graph, moving: set[fx.Node], crossing: list[fx.Node], free: set[fx.Node]
) -> fx.Graph:
    new = fx.Graph()
    copies = {node: new.placeholder(node.name) for node in crossing}
    for node in graph.nodes:
        known = node in free and all(n in copies for n in node.all_input_nodes)
        if node in moving or known:
            copies[node] = new.node_copy(node, copies.__getitem__)
    return new


def _module(model: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """The graph as a module that shares the layers of `model`, without what it does not need."""
    module = fx.GraphModule(model, graph)
    module.graph.eliminate_dead_code()  # compiled when it has been folded
    return module


@torch.no_grad()
def _agrees(parts: Split, model: nn.Module, example: Tensor) -> bool:
    """The same outputs; features row by row those of the images, and not overwritten in the suffix."""
    training = model.training
    model.eval()
    try:
        expected, features = model(example), parts.prefix(example)
        before = [tensor.clone() for tensor in features]
        close = torch.allclose(parts.suffix.eval()(*features), expected, rtol=1e-4, atol=1e-5)
        kept = all(map(torch.equal, before, features))
        return close and kept and all(len(tensor) == len(example) for tensor in features)
    finally:
        model.train(training)
