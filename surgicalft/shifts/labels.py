"""Shifts of the labels alone."""

from torch import Tensor


def flip_labels(labels: Tensor, classes: int) -> Tensor:
    """y -> (classes - 1) - y, for integer labels (n,) in [0, classes); its own inverse.

    Raises ValueError where a label is outside that range.
    Source: CIFAR-Flip, section 2.1 of the paper.
    """
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ValueError(f"labels must be from 0 to {classes - 1}, not {outside.unique().tolist()}")
    return classes - 1 - labels
