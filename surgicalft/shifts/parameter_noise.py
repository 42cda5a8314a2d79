"""Shifts planted in one block of a network (section 3.3 of the paper): noise at a scale that costs a stated accuracy.

To every tensor t of the block, of root mean square r(t), is added

    t + s r(t) e,   e ~ N(0, 1) in each coordinate,

and the scale s, one for the block, is such that the accuracy on given images falls to a stated level. Noise relative to
each tensor's own size lets one scale serve weights, biases and normalisations; a tensor of zeros stays as it is, and
so do running statistics. The paper gives neither scale nor level: both are ours. The same on activations: a gain and an
offset for each channel of the block's output, see `surgicalft.shifts.activation_noise`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surgicalft.blocks import Blocks
from surgicalft.evaluate import accuracy, logits
from surgicalft.freezing import unfreeze
from surgicalft.seeds import generator
from surgicalft.settings import check_choice, check_fields, check_number
from surgicalft.shifts.activation_noise import distort
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.image_files import LazyImages

PLACES = ("parameters", "activations")
IMAGES = 500  # at most, drawn among those given
TOLERANCE = 1.0  # points, or one image where they are few
SMALLEST, LARGEST = 2.0**-3, 2.0**10  # scales tried
HALVINGS = 40

Scaling = Callable[[float], None]  # plants noise of that scale, 0 for none


@dataclass(frozen=True)
class Planted:
    """Noise in `block` that leaves `accuracy` percent; `seed` draws its direction, the same at every level."""

    block: str
    accuracy: float
    where: str = "parameters"
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, where=PLACES)
        check_number("accuracy", self.accuracy, 0, 100, ends=False)


@dataclass(frozen=True)
class Damage:
    """What was planted: the scale, and the accuracies (%) without it and with it."""

    scale: float
    clean: float
    accuracy: float


def plant(
    network: nn.Module,
    planted: Planted,
    data: Labelled,
    device: str = "cpu",
    blocks: Blocks | None = None,
) -> Damage:
    """Plant noise in one block of `network`, in place; the same for the same weights, settings and images.

    `data` are images that the level is set on, other than those that runs are tested on: the source's validation
    images; at most 500 of them are used. `blocks` are those of the network by default. The scale is found by doubling
    and bisection along one direction, on which accuracy falls on average, not at every step: the level is met
    within 1 point or one image, in the first bracket of doublings around it. Afterwards nothing is frozen.

    Raises ValueError for an unknown block, for a level below chance or not below the clean accuracy, and for one that
    no scale reaches; the weights are then as they were.
    """
    blocks = blocks or Blocks.of(network)
    check_choice("block", planted.block, blocks.names)
    some = _some(data)
    network.to(device)
    rescale = _scaling(network, planted, blocks, some.images)
    measure = _measure(network, some, device, rescale)
    try:
        clean = measure(0.0)
        classes = logits(network, some.images[:1], device).shape[1]
        _check_level(planted, clean, 100 / classes)
        return _search(measure, planted, clean, max(TOLERANCE, 100 / len(some)))
    except ValueError:
        rescale(0.0)
        raise
    finally:
        unfreeze(network)


def _scaling(
    network: nn.Module, planted: Planted, blocks: Blocks, images: Tensor | LazyImages
) -> Scaling:
    if planted.where == "activations":
        return distort(network, planted.block, blocks, images, planted.seed)
    return noise(network, blocks.parameters(planted.block), planted.seed)


def _measure(
    network: nn.Module, data: Labelled, device: str, rescale: Scaling
) -> Callable[[float], float]:
    """Scale -> accuracy (%) with noise of that scale."""

    def measured(scale: float) -> float:
        rescale(scale)
        return accuracy(network, data, device)

    return measured


@torch.no_grad()
def noise(network: nn.Module, names: tuple[str, ...], seed: int) -> Scaling:
    """Scale -> the named parameters with noise of that scale, in place, on a direction drawn from (seed, name)."""
    known = dict(network.named_parameters())
    start = {name: known[name].detach().clone() for name in names}
    direction = {name: _direction(value, name, seed) for name, value in start.items()}
    if not any(value.any() for value in direction.values()):
        raise ValueError(f"all tensors are zero, which gives noise no scale: {list(names)}")

    @torch.no_grad()
    def rescale(scale: float) -> None:
        for name in names:
            known[name].copy_(torch.add(start[name], direction[name], alpha=scale))

    return rescale


def _direction(value: Tensor, name: str, seed: int) -> Tensor:
    """Drawn on the CPU, so that every device gets the same."""
    drawn = torch.randn(value.shape, generator=generator("planted", seed, name))
    return drawn.to(value) * value.square().mean().sqrt()


def _some(data: Labelled) -> Labelled:
    if len(data) < 2:
        raise ValueError(f"{len(data)} images are too few to set the level on")
    order = torch.randperm(len(data), generator=generator("planted", "images"))
    return data.take(order[:IMAGES])


def _check_level(planted: Planted, clean: float, chance: float) -> None:
    if not chance <= planted.accuracy < clean:
        raise ValueError(
            f"accuracy must be at least chance ({chance:g}) and below that of the network without noise "
            f"({clean:g}), not {planted.accuracy:g}"
        )


def _search(
    measure: Callable[[float], float], planted: Planted, clean: float, tolerance: float
) -> Damage:
    """Double until the level is passed, then halve the bracket; ends with the network at the scale found."""
    level, low, high = planted.accuracy, 0.0, SMALLEST
    tried: dict[float, float] = {}
    while high <= LARGEST:
        tried[high] = measure(high)
        if abs(tried[high] - level) <= tolerance:
            return Damage(high, clean, tried[high])
        if tried[high] < level:
            break
        low, high = high, 2 * high
    else:
        raise _unreached(planted, clean, tried)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried[middle] = measure(middle)
        if abs(tried[middle] - level) <= tolerance:
            return Damage(middle, clean, tried[middle])
        low, high = (middle, high) if tried[middle] > level else (low, middle)
    raise _unreached(planted, clean, tried)


def _unreached(planted: Planted, clean: float, tried: dict[float, float]) -> ValueError:
    scale = min(tried, key=lambda s: abs(tried[s] - planted.accuracy))
    return ValueError(
        f"no noise in the {planted.where} of {planted.block!r} gives an accuracy of {planted.accuracy:g}: "
        f"{clean:g} without it, {tried[scale]:g} at scale {scale:.4g}, the closest of {len(tried)} up to "
        f"{max(tried):g}"
    )
