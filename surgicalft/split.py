"""Cuts a network where tuning begins: what lies in front cannot change and is computed once per image.

`split(model, tuned)` traces the network with torch.fx and gives a *prefix*, every operation that depends on
no tuned parameter, and a *suffix*, all the others. For fixed images the prefix's outputs are constants of the
whole run, so they are computed once and kept (`FeatureCache`), without a graph for gradients. A network that
torch.fx cannot trace, or that behaves otherwise when traced, is left whole: slower, same results.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from surgicalft.evaluate import to_float
from surgicalft.fold import fold
from surgicalft.recent import Recent

Features = tuple[Tensor, ...]


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
    moving = _moving(graph, model, set(tuned))
    crossing = [node for node in graph.nodes if node not in moving and _crosses(node, moving)]
    if not crossing:
        return whole(model)
    prefix = fold(_module(model, _prefix(graph, moving, crossing)))
    suffix = fold(_module(model, _suffix(graph, moving, crossing)))
    computed = any(node.op != "placeholder" for node in crossing)
    parts = Split(prefix, suffix, ",".join(node.name for node in crossing) if computed else "")
    return parts if _agrees(parts, model, example) else whole(model)


def trace(model: nn.Module) -> fx.Graph | None:
    """The network's graph, or None where it has none or where it differs between train and eval mode.

    It names parameters and layers and holds none, so that one graph serves every copy of a network. torch.fx
    patches torch.nn.Module while it traces: no other thread may use any network meanwhile.
    """
    training = model.training
    graphs = []
    try:
        for mode in (True, False):
            graphs.append(fx.Tracer().trace(model.train(mode)))
    except Exception:  # tracing runs the model's own code on proxies, which may raise anything
        return None
    finally:
        model.train(training)
    codes = [graph.python_code("self").src for graph in graphs]
    return graphs[0] if codes[0] == codes[1] else None


def _moving(graph: fx.Graph, model: nn.Module, tuned: set[str]) -> set[fx.Node]:
    """The nodes whose value depends on a tuned parameter, and the output."""
    moving: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "output" or _uses(node, model, tuned) or moving & set(node.all_input_nodes):
            moving.add(node)
    return moving


def _uses(node: fx.Node, model: nn.Module, tuned: set[str]) -> bool:
    """Whether the node itself reads a tuned parameter; parameters shared by two modules count in both."""
    if node.op == "get_attr":
        return str(node.target) in tuned
    if node.op != "call_module":
        return False
    owned = {id(parameter) for parameter in model.get_submodule(str(node.target)).parameters()}
    return any(id(value) in owned for name, value in model.named_parameters() if name in tuned)


def _crosses(node: fx.Node, moving: set[fx.Node]) -> bool:
    """A value computed from the images in front of the cut and used behind it."""
    return node.op != "get_attr" and any(user in moving for user in node.users)


def _prefix(graph: fx.Graph, moving: set[fx.Node], crossing: list[fx.Node]) -> fx.Graph:
    new = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node not in moving:
            copies[node] = new.node_copy(node, copies.__getitem__)
    new.output(tuple(copies[node] for node in crossing))
    return new


def _suffix(graph: fx.Graph, moving: set[fx.Node], crossing: list[fx.Node]) -> fx.Graph:
    new = fx.Graph()
    copies = {node: new.placeholder(node.name) for node in crossing}
    for node in graph.nodes:
        if node in moving or node.op == "get_attr":
            copies[node] = new.node_copy(node, copies.__getitem__)
    return new


def _module(model: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """The graph as a module that shares the layers of `model`, without what it does not need."""
    module = fx.GraphModule(model, graph)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


@torch.no_grad()
def _agrees(parts: Split, model: nn.Module, example: Tensor) -> bool:
    training = model.training
    model.eval()
    try:
        features = parts.prefix(example)
        got = parts.suffix.eval()(*features)
        close = torch.allclose(got, model(example), rtol=1e-4, atol=1e-5)
        return close and all(len(tensor) == len(example) for tensor in features)
    finally:
        model.train(training)


def compute_features(
    prefix: nn.Module, images: Tensor, device: str = "cpu", batch_size: int = 50
) -> Features:
    """The prefix's outputs for uint8 images (n, c, h, w), in eval mode."""
    prefix.eval()

    @torch.no_grad()  # a thread has a mode of its own
    def compute(part: Tensor) -> Features:
        return prefix(to_float(part, device))

    parts = _side_by_side(compute, images.split(batch_size), device)
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def _side_by_side(
    compute: Callable[[Tensor], Features], batches: Sequence[Tensor], device: str
) -> list[Features]:
    """On a CPU, a batch per core: its threads then wait for each other at the end, not in every operation."""
    threads = torch.get_num_threads()
    jobs = min(threads, len(batches))
    if jobs == 1 or torch.device(device).type != "cpu":
        return list(map(compute, batches))
    try:
        with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(compute, batches))
    finally:
        torch.set_num_threads(threads)  # what threads that are started later begin with


class FeatureCache:
    """Features by (cut, split name), kept up to `max_bytes` in all.

    One cache serves the runs that start from the same weights on the same target split, whatever they tune.
    `graph` is the network's, from `trace`.
    """

    def __init__(self, graph: fx.Graph | None, max_bytes: int = 2**31) -> None:
        self.graph = graph
        self._recent: Recent[Features] = Recent(max_bytes, _nbytes)

    def get(self, parts: Split, name: str, images: Tensor, device: str = "cpu") -> Features:
        """The features of the split called `name`, computed at the first asking."""
        return self._recent.get(
            (parts.cut, name), lambda: compute_features(parts.prefix, images, device)
        )

    def batches(
        self, parts: Split, name: str, images: Tensor, device: str = "cpu", size: int = 250
    ) -> Iterator[Features]:
        """The same in order, a batch at a time: kept if cut and small, else computed and let go."""
        one = compute_features(parts.prefix, images[:1], device)
        if parts.cut and _nbytes(one) * len(images) < self._recent.limit / 2:
            kept = self.get(parts, name, images, device)
            yield from zip(*(tensor.split(size) for tensor in kept), strict=True)
        else:
            for part in images.split(size):
                yield compute_features(parts.prefix, part, device)


def _nbytes(features: Features) -> int:
    return sum(tensor.nbytes for tensor in features)
