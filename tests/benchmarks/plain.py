"""The loop to compare with: plain PyTorch that does what the authors' code does, and nothing cleverer.

DataLoaders; the gradient of every parameter is computed; frozen tensors are left out of Adam; the validation
and the test split are evaluated after every epoch. Batch order and settings are those of `fine_tune`, so
that both reach the same accuracy.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from surgicalft.blocks import Blocks
from surgicalft.finetune import FineTune
from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled, Splits


def plain_fine_tune(
    model: nn.Module, selection: str, splits: Splits, settings: FineTune
) -> list[tuple[float, float]]:
    """Validation and test accuracy (%) after each epoch."""
    names = set(Blocks.of(model).select(selection).parameters)
    parameters = [value for name, value in model.named_parameters() if name in names]
    optimizer = torch.optim.Adam(
        parameters, settings.learning_rate, weight_decay=settings.weight_decay
    )
    tune, valid, test = (_dataset(data) for data in (splits.tune, splits.valid, splits.test))
    results = []
    model.eval()
    for epoch in range(settings.epochs):
        order = torch.randperm(len(tune), generator=generator("order", settings.seed, epoch))
        batches = [index.tolist() for index in order.split(settings.batch_size)]
        for images, labels in DataLoader(tune, batch_sampler=batches):
            optimizer.zero_grad()
            model.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        results.append((_evaluate(model, valid), _evaluate(model, test)))
    return results


def _dataset(data: Labelled) -> TensorDataset:
    return TensorDataset(data.images.float() / 255, data.labels)


@torch.no_grad()
def _evaluate(model: nn.Module, data: TensorDataset) -> float:
    correct = 0
    for images, labels in DataLoader(data, batch_size=64):
        correct += int((model(images).argmax(1) == labels).sum())
    return 100 * correct / len(data)
