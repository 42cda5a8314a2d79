"""What gradient flow should keep along its path, as something that `theory.flow.flow` can watch.

Each maker returns a function (networks of some trials, their indices) -> one value each (trials,), so that
`flow(..., watch=conservation(net)).highest` is the largest violation at and within all steps.
"""

import numpy as np

from theory.descent import descend, gradient_descent
from theory.exact import fit
from theory.flow import flow
from theory.networks import Array, Network, predict
from theory.problem import Watch


def conserved(net: Network) -> Array:
    """v v^T - B B^T (..., k, k), constant under the flow of both layers of a linear network (Eq. 16)."""
    return net.v[..., :, None] * net.v[..., None, :] - net.B @ net.B.swapaxes(-1, -2)


def conservation(start: Network) -> Watch:
    """Largest change of any entry of v v^T - B B^T, relative to |v|^2 + |B|^2 at the start."""
    before, size = conserved(start), _size(start)
    return lambda net, i: np.abs(conserved(net) - before[i]).max((-2, -1)) / size[i]


def off_span(start: Network, x: Array) -> Watch:
    """Length by which B has moved outside the span of the inputs x (trials, n, d), relative to its size."""
    Q, size = fit(x, np.zeros(x.shape[:-1])).Q, _size(start)

    def moved(net: Network, i: np.ndarray) -> Array:
        change = net.B - start.B[i]
        outside = change - change @ Q[i].swapaxes(-1, -2) @ Q[i]
        return np.sqrt((outside**2).sum((-2, -1)) / size[i])

    return moved


def training_loss(x: Array, y: Array, phi: str = "linear") -> Watch:
    """sum_i (f(x_i) - y_i)^2 for x (trials, n, d) and y (trials, n)."""
    return lambda net, i: ((predict(net, x[i], phi) - y[i]) ** 2).sum(-1)


def violations(net: Network, x: Array, y: Array, steps: int = 1000) -> dict[str, float]:
    """The largest violations over all trials when both layers are tuned from `net`.

    Of conservation and of a falling loss along the flow; of staying in the span under gradient descent, since
    `flow` integrates linear networks in the basis of their data, where that holds by construction.
    """
    start = training_loss(x, y)(net, np.arange(len(x)))
    rise = flow(net, x, y, watch=training_loss(x, y)).highest / start - 1
    drift = flow(net, x, y, watch=conservation(net)).highest
    step = 0.1 / ((net.v**2).sum(-1) * np.linalg.norm(x, ord=2, axis=(-2, -1)) ** 2)
    moved = descend(net, x, y, gradient_descent(step), steps, watch=off_span(net, x)).highest
    return {
        "v v^T - B B^T, flow": float(drift.max()),
        "loss above its start, flow": float(rise.max()),
        "B outside the span, gradient descent": float(moved.max()),
    }


def _size(net: Network) -> Array:
    return (net.v**2).sum(-1) + (net.B**2).sum((-2, -1))
