"""Optimisers and learning-rate schedules by name, for source training and fine-tuning alike."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from surgicalft.settings import check_choice

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "one-cycle")


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> Optimizer:
    """ "adam" with L2 weight decay, "adamw" with decoupled decay, or "sgd" with momentum; ValueError for another."""
    check_choice("optimizer", name, OPTIMIZERS)
    if name == "sgd":
        return torch.optim.SGD(
            parameters, learning_rate, momentum, weight_decay=weight_decay, nesterov=nesterov
        )
    kind: Callable[..., Optimizer] = Adam if name == "adam" else AdamW
    return kind(parameters, learning_rate, weight_decay=weight_decay, fused=True)


def make_schedule(name: str, optimizer: Optimizer, steps: int) -> LRScheduler | None:
    """What the learning rate is multiplied with at step t of `steps`; `step()` is called after each.

    "constant": 1, for which None does. "cosine": (1 + cos(pi t / steps)) / 2 (Loshchilov and Hutter 2017,
    without restarts). "one-cycle": up during the first fifth, then down along half a cosine (Smith and Topin 2019).
    """
    check_choice("schedule", name, SCHEDULES)
    if name == "one-cycle":
        peak = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, peak, steps, pct_start=0.2)
    if name == "constant":
        return None
    return LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * min(step / steps, 1))) / 2)
