"""Entropies against their definitions, in double precision and at their ends."""

import math

import pytest
import torch

from surgicalft.testtime.entropy import entropy, marginal_entropy


def test_entropy_is_that_of_the_definition():
    logits = torch.randn(7, 5, dtype=torch.float64)
    p = logits.softmax(-1)
    torch.testing.assert_close(entropy(logits), -(p * p.log()).sum(-1))


def test_marginal_entropy_is_that_of_the_mean_prediction():
    logits = torch.randn(3, 8, 5, dtype=torch.float64)  # images, views, classes
    p = logits.softmax(-1).mean(1)
    torch.testing.assert_close(marginal_entropy(logits), -(p * p.log()).sum(-1))


def test_views_that_are_certain_but_disagree_are_uncertain_together():
    logits = 1e4 * torch.eye(4)  # each view names a class of its own
    assert entropy(logits).tolist() == [0.0] * 4
    assert marginal_entropy(logits).item() == pytest.approx(math.log(4))


def test_certain_predictions_have_finite_gradients():
    logits = (1e3 * torch.eye(4)).requires_grad_()
    marginal_entropy(logits[:1]).backward()
    assert logits.grad.isfinite().all()
