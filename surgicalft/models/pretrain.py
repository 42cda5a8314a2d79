"""Training of a source model from scratch, cached by its settings and its data.

Recipe: SGD with Nesterov momentum under a one-cycle learning rate (Smith and Topin 2019), random crops
and flips, cross-entropy; the checkpoint of the best source-validation accuracy is kept.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from surgicalft.evaluate import accuracy, to_float
from surgicalft.models.networks import build
from surgicalft.paths import cache_dir
from surgicalft.seeds import derive_seed, generator
from surgicalft.settings import check_choice, identity
from surgicalft.shifts.base import Labelled, Source, load_source

AUGMENTATIONS = ("none", "crop", "crop-flip")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Pretrain:
    """What is learned on the source, and how. `learning_rate` is the peak of the one-cycle schedule."""

    source: str
    model: str = "resnet26-bn"
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: str = "crop-flip"  # letters must not be mirrored: "crop" there
    precision: str = "float32"  # "bfloat16" autocasts: faster where the processor has it
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("augment", self.augment, AUGMENTATIONS)
        check_choice("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class SourceModel:
    """A trained network with what is known of it: settings, accuracies (in percent), history."""

    network: nn.Module
    info: dict[str, Any]


def pretrained(
    settings: Pretrain,
    data_dir: Path | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> SourceModel:
    """The source model of these settings: from the cache, or trained now and put there."""
    source = load_source(settings.source, data_dir)
    key = identity(settings, fingerprint(source.train))
    folder = cache_dir("models")
    weights, notes = folder / f"{key}.safetensors", folder / f"{key}.json"
    network = build(settings.model, source.classes, derive_seed("init", settings.seed))
    if weights.exists() and notes.exists():
        network.load_state_dict(load_file(weights))
        return SourceModel(network.to(device), json.loads(notes.read_text()))
    info = train(network, source, settings, device, progress)
    _save(network, info, weights, notes)
    return SourceModel(network, info)


def train(
    network: nn.Module, source: Source, settings: Pretrain, device: str, progress: bool
) -> dict[str, Any]:
    """Train in place, leave the weights of the best epoch in `network`, return what to remember."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(),
        settings.learning_rate,
        settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    steps = -(-len(source.train) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, settings.epochs * steps, pct_start=0.2
    )
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = {}
    bar = tqdm(range(settings.epochs), f"training on {settings.source}", disable=not progress)
    for epoch in bar:
        loss = _epoch(network, source.train, optimizer, schedule, settings, epoch, device)
        valid = accuracy(network, source.valid, device)
        if not history or valid > max(past["valid_accuracy"] for past in history):
            best = {name: value.clone() for name, value in network.state_dict().items()}
        history.append({"train_loss": loss, "valid_accuracy": valid})
        bar.set_postfix(loss=f"{loss:.3f}", valid=f"{valid:.1f}%")
    network.load_state_dict(best)
    return {
        "settings": asdict(settings),
        "provenance": source.provenance,
        "fingerprint": fingerprint(source.train),
        "n_train": len(source.train),
        "test_accuracy": accuracy(network, source.test, device),
        "n_test": len(source.test),
        "history": history,
        "torch": torch.__version__,
        "device": device,
    }


def fingerprint(data: Labelled) -> str:
    """Hash of the training images and labels: other data never load this model by mistake."""
    digest = hashlib.sha256(data.images.numpy().tobytes())
    digest.update(data.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def _epoch(
    network: nn.Module,
    data: Labelled,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    settings: Pretrain,
    epoch: int,
    device: str,
) -> float:
    """One pass over the data in a random order; returns the mean loss."""
    network.train()
    random = generator("pretrain", settings.seed, epoch)
    total = 0.0
    autocast = torch.autocast(
        torch.device(device).type, torch.bfloat16, enabled=settings.precision == "bfloat16"
    )
    for index in torch.randperm(len(data), generator=random).split(settings.batch_size):
        images = to_float(augment(data.images[index], settings.augment, random), device)
        with autocast:
            loss = F.cross_entropy(network(images), data.labels[index].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(index)
    return total / len(data)


def augment(images: Tensor, kind: str, random: torch.Generator) -> Tensor:
    """Shift each image (n, c, h, w) by up to h/8 pixels, reflecting at the edge, and mirror half of them."""
    if kind == "none":
        return images
    n, _, size, _ = images.shape
    pad = size // 8
    margins = ((0, 0), (0, 0), (pad, pad), (pad, pad))
    padded = np.pad(images.numpy(), margins, "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
    top, left = torch.randint(2 * pad + 1, (2, n), generator=random).numpy()
    cropped = windows[np.arange(n), :, top, left]  # (n, c, h, w)
    if kind == "crop-flip":
        mirrored = (torch.rand(n, generator=random) < 0.5).numpy()
        cropped[mirrored] = cropped[mirrored, ..., ::-1]
    return torch.from_numpy(cropped)


def _save(network: nn.Module, info: dict[str, Any], weights: Path, notes: Path) -> None:
    """Write beside and rename, weights first: a killed training leaves no half a model."""
    partial = weights.with_suffix(".partial")
    save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, partial)
    partial.replace(weights)
    partial.write_text(json.dumps(info, indent=1))
    partial.replace(notes)
