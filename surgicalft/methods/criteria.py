"""Criteria that say how much a tensor should learn, from its gradients: pure functions, name -> number >= 0.

Weights and biases are tensors of their own (section 4.1), each taken flat.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from surgicalft.methods.per_input import Moments

CODE_EPSILON = 1e-8  # of the authors' code


def relative_gradient_norm(
    gradients: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
) -> dict[str, float]:
    """Eq. 3: RGN_i = ||g_i||_2 / ||theta_i||_2 of each tensor i in `gradients`.

    A tensor of zero norm, such as a bias that starts at 0, has no relative size, and an infinite ratio would leave
    nothing for the others once it is scaled. So where its gradient is zero too it counts 0, else as much as the
    largest of the others (1 where there is none): it learns as fast as any and slows none down.

    Raises ValueError, naming the tensors, where gradients or parameters are not finite or a parameter is missing.
    """
    if absent := [name for name in gradients if name not in parameters]:
        raise ValueError(f"no parameters given for the gradients of {absent}")
    above = {name: _norm(g) for name, g in gradients.items()}
    below = {name: _norm(parameters[name]) for name in gradients}
    _check_finite("gradients", above)
    _check_finite("parameters", below)
    ratios = {name: above[name] / below[name] for name in gradients if below[name] > 0}
    largest = max(ratios.values(), default=1.0)
    return {name: ratios.get(name, largest if above[name] > 0 else 0.0) for name in gradients}


def signal_to_noise(moments: Mapping[str, Moments]) -> dict[str, float]:
    """Eq. 4: SNR_i = mean over coordinates j of (mean over inputs of g_ij)^2 / Var_ij, with the sample variance.

    A coordinate that is zero for all inputs, as behind a dead rectifier, carries no signal and counts 0; so does
    one whose square is too small for its type of number, because its variance is lost. One that is the same for all
    inputs, but not zero, is a perfect signal: deviations below eps · |mean| can't be told from rounding, so that
    SNR is at most 1 / eps^2 (7e13 in float32).

    Raises ValueError for moments of fewer than two inputs, or not finite. The criterion is that of Mahsereci et al.
    (2017), "Early Stopping without a Validation Set"; square and mean are ours, the paper's formula being lost.
    """
    return {name: _ratio(name, m) for name, m in moments.items()}


def signal_to_noise_code(gradients: Mapping[str, Tensor]) -> dict[str, float]:
    """The authors' code: mean over coordinates of g^2 / (V + 1e-8), g being the gradient of a batch's mean loss.

    V is the sample variance of g over its first axis, the output channels; over all coordinates where there is one
    axis, as for biases, or one channel (theirs gives NaN, which then passes every threshold); 0 for a single number.

    Raises ValueError, naming the tensors, where gradients are not finite.
    """
    _check_finite("gradients", {name: _norm(g) for name, g in gradients.items()})
    return {name: _code_ratio(g) for name, g in gradients.items()}


def fisher(moments: Mapping[str, Moments]) -> dict[str, float]:
    """F_i = mean over inputs and coordinates of g_ij^2: empirical Fisher information per scalar of tensor i.

    At the labels given, not at labels drawn from the network. Raises ValueError where moments are not finite.
    Sources: Kirkpatrick et al. (2017), "Overcoming catastrophic forgetting"; Sung et al. (2021), "Training Neural
    Networks with Fixed Sparse Masks" (FISH).
    """
    means = {}
    for name, m in moments.items():
        squares = m.mean.double().square() + m.variance.double() * ((m.count - 1) / m.count)
        means[name] = squares.mean().item()
    _check_finite("moments", means)
    return means


def scaled(values: Mapping[str, float]) -> dict[str, float]:
    """Into [0, 1], by division by the largest, as the authors do; the text only says "normalize".

    All 1 where all are 0: then none stands out, and rates of 0 would freeze everything silently. Min-max scaling
    would always freeze the smallest. Raises ValueError for values that are negative or not finite.
    """
    if bad := {name: v for name, v in values.items() if not 0 <= v < math.inf}:
        raise ValueError(f"values to scale must be finite and >= 0, not {bad}")
    largest = max(values.values(), default=0.0)
    return {name: value / largest if largest else 1.0 for name, value in values.items()}


def _ratio(name: str, moments: Moments) -> float:
    if moments.count < 2:
        raise ValueError(
            f"a variance over inputs takes two of them or more, not {moments.count} ({name})"
        )
    kind = torch.finfo(moments.mean.dtype)
    square, variance = moments.mean.double().square(), moments.variance.double()
    _check_finite("moments", {name: (square + variance).sum().item()})
    ratio = square / torch.maximum(variance, kind.eps**2 * square)
    return ratio.where(square >= kind.tiny, 0.0).mean().item()


def _code_ratio(g: Tensor) -> float:
    rows = g.double() if g.dim() > 1 and len(g) > 1 else g.double().reshape(-1)
    variance = rows.var(0, keepdim=True) if len(rows) > 1 else 0.0
    return (rows.square() / (variance + CODE_EPSILON)).mean().item()


def _norm(values: Tensor) -> float:
    """In double precision, in which squares of float32 neither overflow nor vanish."""
    return torch.linalg.vector_norm(values, dtype=torch.float64).item()


def _check_finite(what: str, sizes: Mapping[str, float]) -> None:
    if bad := [name for name, size in sizes.items() if not math.isfinite(size)]:
        raise ValueError(f"{what} that are not finite: {bad}")
