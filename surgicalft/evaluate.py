"""Accuracy of a network on labelled images."""

import torch
from torch import Tensor, nn

from surgicalft.shifts.base import Labelled


def to_float(images: Tensor, device: str | torch.device = "cpu") -> Tensor:
    """uint8 (n, c, h, w) -> float in [0, 1], channels last, which convolutions on a CPU prefer."""
    images = images.to(device, non_blocking=True)
    return images.to(memory_format=torch.channels_last).float().div_(255)


@torch.inference_mode()
def logits(
    network: nn.Module, images: Tensor, device: str = "cpu", batch_size: int = 500
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
    correct = logits(network, data.images, device).argmax(1).cpu() == data.labels
    return 100 * correct.double().mean().item()
