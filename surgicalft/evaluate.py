"""Accuracy of a network on labelled images."""

import torch
from torch import Tensor, nn

from surgicalft.shifts.base import Labelled
from surgicalft.shifts.image_files import LazyImages, as_tensor


def to_float(images: Tensor | LazyImages, device: str | torch.device = "cpu") -> Tensor:
    """uint8 (n, c, h, w) -> float in [0, 1], channels last, which convolutions on a CPU prefer."""
    moved = as_tensor(images).to(device, non_blocking=True)
    return moved.to(memory_format=torch.channels_last).float().div_(255)


@torch.inference_mode()
def logits(
    network: nn.Module, images: Tensor | LazyImages, device: str = "cpu", batch_size: int = 500
) -> Tensor:
    """The network's outputs (n, classes) in eval mode, whose earlier mode is restored."""
    training = network.training
    network.eval()
    try:
        parts = [network(to_float(part, device)) for part in images.split(batch_size)]
    finally:
        network.train(training)
    return torch.cat(parts)


def accuracy(network: nn.Module, data: Labelled, device: str = "cpu") -> float:
    """Share of correct predictions, in percent."""
    return percent_correct(logits(network, data.images, device).argmax(1).cpu(), data.labels)


def percent_correct(predictions: Tensor, labels: Tensor) -> float:
    """Share of equal entries of (n,) and (n,), in percent."""
    return 100 * (predictions == labels).double().mean().item()
