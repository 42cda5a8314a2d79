"""Criteria that say how much a tensor should learn, from its gradients: pure functions, name -> number."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from surgicalft.methods.per_input import Moments


def relative_gradient_norm(
    gradients: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
) -> dict[str, float]:
    """Eq. 3: RGN_i = ||g_i||_2 / ||theta_i||_2 of each tensor i, both flattened.

    A tensor of zero norm has no relative size: where its gradient is zero too, 0; else the largest finite ratio of
    the others (1 where there is none), so that it learns as fast as any and slows none down. Raises ValueError where a
    gradient is not finite.
    """
    _check_finite(gradients)
    sizes = {
        name: (g.norm().item(), parameters[name].norm().item()) for name, g in gradients.items()
    }
    finite = {name: g / theta for name, (g, theta) in sizes.items() if theta > 0}
    largest = max(finite.values(), default=1.0)
    return {name: finite.get(name, largest if g > 0 else 0.0) for name, (g, _) in sizes.items()}


def scaled(values: Mapping[str, float]) -> dict[str, float]:
    """Into [0, 1], by division by the largest; all 1 where all are 0, for then none stands out.

    Min-max scaling would always freeze the smallest.
    """
    largest = max(values.values())
    return {name: value / largest if largest else 1.0 for name, value in values.items()}


def _check_finite(gradients: Mapping[str, Tensor]) -> None:
    bad = [name for name, g in gradients.items() if not math.isfinite(g.abs().sum().item())]
    if bad:
        raise ValueError(f"gradients that are not finite: {bad}")


def signal_to_noise(moments: Mapping[str, Moments]) -> dict[str, float]:
    """Eq. 4: SNR = mean over coordinates of (mean over inputs)^2 / variance over inputs, of each tensor.

    A coordinate whose gradient is the same for all inputs has variance 0: it counts 0 where it is always zero, and
    else with the variance that rounding leaves, (eps · mean)^2. Raises ValueError for fewer than two inputs.
    """
    return {name: _ratio(name, m) for name, m in moments.items()}


def _ratio(name: str, moments: Moments) -> float:
    if moments.count < 2:
        raise ValueError(
            f"the variance over inputs needs two of them or more, not {moments.count} ({name})"
        )
    square = moments.mean.square()
    floor = square * torch.finfo(square.dtype).eps ** 2
    ratio = square / moments.variance.maximum(floor)
    return ratio.nan_to_num(nan=0.0).mean().item()


def signal_to_noise_code(gradients: Mapping[str, Tensor]) -> dict[str, float]:
    """The authors' code: mean of g^2 / (variance over output channels, ddof = 1, + 1e-8), of a batch's gradient."""
    _check_finite(gradients)
    return {name: _code_ratio(g) for name, g in gradients.items()}


def _code_ratio(g: Tensor) -> float:
    variance = g.var(0, keepdim=True) if len(g) > 1 else torch.zeros_like(g)
    return (g.square() / (variance + 1e-8)).mean().item()


def fisher(moments: Mapping[str, Moments]) -> dict[str, float]:
    """Mean over inputs and coordinates of squared gradients: empirical Fisher information per scalar."""
    return {
        name: (m.mean.square() + m.variance * (m.count - 1) / m.count).mean().item()
        for name, m in moments.items()
    }
