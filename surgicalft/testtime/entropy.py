"""Entropies of predictions, in nats, from logits."""

import math

from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """H(p) = -sum_y p(y) log p(y) of p = softmax(logits); logits (..., classes) -> (...), in [0, log classes]."""
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1)


def marginal_entropy(logits: Tensor) -> Tensor:
    """H of the mean prediction over an image's views; logits (..., views, classes) -> (...), in [0, log classes].

    p(y) = 1/n sum_i softmax(logits_i)(y), in logarithms throughout, so that certain predictions lose no digits.
    Source: MEMO (Zhang, Levine and Finn 2022), Eq. 2.
    """
    logs = logits.log_softmax(-1).logsumexp(-2) - math.log(logits.shape[-2])
    return -(logs.exp() * logs).sum(-1)
