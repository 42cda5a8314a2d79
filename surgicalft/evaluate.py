"""Accuracy of a network on labelled images."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surgicalft.given_network import image_type, takes_channels_last
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.image_files import LazyImages, as_tensor


@dataclass(frozen=True)
class ImageForm:
    """How a network takes images: their type, and whether channels lie last in memory."""

    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    @classmethod
    def of(cls, network: nn.Module) -> "ImageForm":
        """As its weights are."""
        return cls(image_type(network), takes_channels_last(network))


def to_float(
    images: Tensor | LazyImages,
    device: str | torch.device = "cpu",
    form: ImageForm = ImageForm(),
) -> Tensor:
    """uint8 (n, c, h, w) -> numbers in [0, 1], of the form that a network takes."""
    moved = as_tensor(images).to(device, non_blocking=True)
    if form.channels_last and moved.ndim == 4:
        moved = moved.to(memory_format=torch.channels_last)
    return moved.to(form.dtype).div_(255)


@torch.inference_mode()
def logits(
    network: nn.Module, images: Tensor | LazyImages, device: str = "cpu", batch_size: int = 500
) -> Tensor:
    """The network's outputs (n, classes) in eval mode, whose earlier mode is restored."""
    training, form = network.training, ImageForm.of(network)
    network.eval()
    try:
        parts = [network(to_float(part, device, form)) for part in images.split(batch_size)]
    finally:
        network.train(training)
    return torch.cat(parts)


def accuracy(network: nn.Module, data: Labelled, device: str = "cpu") -> float:
    """Share of correct predictions, in percent."""
    return percent_correct(logits(network, data.images, device).argmax(1).cpu(), data.labels)


def percent_correct(predictions: Tensor, labels: Tensor) -> float:
    """Share of equal entries of (n,) and (n,), in percent."""
    return 100 * (predictions == labels).double().mean().item()
