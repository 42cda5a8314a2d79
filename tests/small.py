"""Images of chance and a network on them, small enough for a test of milliseconds."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.reuse import Answering, Leaf
from surgicalft.shifts.base import Labelled, Splits
from surgicalft.trial import find_plan

CLASSES = 4


def labelled(n: int, seed: int, side: int = 16, classes: int = CLASSES) -> Labelled:
    """Random images (n, 3, side, side) with random labels."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, side, side), generator=random, dtype=torch.uint8)
    return Labelled(images, torch.randint(0, classes, (n,), generator=random))


def small_splits() -> Splits:
    """40 images to tune on, 24 to validate and 30 to test."""
    return Splits(labelled(40, 0), labelled(24, 1), labelled(30, 2))


def network(norm: str = "batch", depth: int = 8) -> ResNetCifar:
    """A ResNet of three narrow blocks, the same at each call."""
    torch.manual_seed(0)
    return ResNetCifar(depth, widths=(8, 8, 16), norm=norm, classes=CLASSES)


def answering(
    model: nn.Module, tuned: Collection[str], images: Tensor
) -> tuple[Answering, dict[Leaf, Tensor]]:
    """A frozen network whose modules answer from memory while `tuned` learn, and what is kept of float images."""
    mode = model.training
    others = torch.rand(4, *images.shape[1:], generator=torch.Generator().manual_seed(5))
    found = Answering(model, find_plan(model, tuned, others))
    kept = found.remember(images)
    model.train(mode)
    return found, kept
