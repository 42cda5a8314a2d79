"""Instances of Propositions 1 and 2 (section 3.1, A.1): ReLU networks on sources of finite support.

A network f(x) = v_pre^T relu(B_pre x) without source loss meets the target

    x_trg = A x_src,  y_trg = t y_src        (Proposition 1: t = 1.  Proposition 2: A = I)

and its first or its last layer is tuned. The source puts equal weight on n points, so that a population loss
is a mean of n terms: with arrays of Fractions (the constructors' default) every statement is decided exactly,
with float64 (`Instance.floats`) an optimiser can attack it.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from theory import checks, rational
from theory.networks import Network, predict


@dataclass(frozen=True)
class Instance:
    """A pre-trained network, the points of its source, and a target.

    Arrays are float64, or of Fractions (dtype object), in which case whatever is computed is exact.
    Raises ValueError for shapes that do not fit, entries that are not finite, and a singular A.
    """

    name: str
    B_pre: Any  # (k, d)
    v_pre: Any  # (k,)
    x: Any  # (n, d), the support of P_src; every point has probability 1 / n
    A: Any  # (d, d), invertible
    t: Any = 1  # finite; 0 is allowed

    def __post_init__(self) -> None:
        for name, ndim in (("B_pre", 2), ("v_pre", 1), ("x", 2), ("A", 2)):
            given = np.asarray(getattr(self, name))
            floats = checks.array(name, given, ndim)
            object.__setattr__(self, name, given if given.dtype == object else floats)
        for letter, size in zip("kdn", (*self.B_pre.shape, len(self.x)), strict=True):
            checks.at_least(letter, size, 1)
        checks.shape("v_pre", self.v_pre, (self.k,))
        checks.shape("x", self.x, (None, self.d))
        checks.shape("A", self.A, (self.d, self.d))
        checks.array("t", self.t, ndim=0)
        rank = rational.rank(self.A) if self.exact else int(np.linalg.matrix_rank(self.A))
        if rank < self.d:
            raise ValueError(f"A must be invertible, but its rank is {rank} of {self.d}:\n{self.A}")

    @property
    def k(self) -> int:
        return int(self.B_pre.shape[0])

    @property
    def d(self) -> int:
        return int(self.B_pre.shape[1])

    @property
    def exact(self) -> bool:
        return bool(self.A.dtype == object)

    @property
    def x_trg(self) -> Any:
        """A x_src for every point (n, d)."""
        return self.x @ self.A.T

    @property
    def y_trg(self) -> Any:
        """t f(x_src; B_pre, v_pre) for every point (n,)."""
        return self.t * predict(Network(self.B_pre, self.v_pre), self.x, "relu")

    @property
    def features(self) -> Any:
        """relu(B_pre x_trg) (n, k): all that a tuned last layer sees."""
        return np.maximum(self.x_trg @ self.B_pre.T, 0)

    def loss(self, B: Any, v: Any) -> Any:
        """L_trg(B, v) = E (v^T relu(B x_trg) - y_trg)^2."""
        return self._mean((predict(Network(B, v), self.x_trg, "relu") - self.y_trg) ** 2)

    @property
    def label_power(self) -> Any:
        """E y_trg^2, the loss of the network that is 0 everywhere."""
        return self._mean(self.y_trg**2)

    def floats(self) -> "Instance":
        """The same in float64."""
        arrays = {name: getattr(self, name) for name in ("B_pre", "v_pre", "x", "A")}
        converted = {name: np.asarray(value, dtype=float) for name, value in arrays.items()}
        return Instance(self.name, **converted, t=float(self.t))

    def _mean(self, values: Any) -> Any:
        return values.sum() / len(values)


def shifted_input(k: int, d: int, seed: int, n: int = 8) -> Instance:
    """Proposition 1's setting: a random network, support and invertible A; t = 1."""
    rng = _rng(k, d, n, seed)
    B, v, x = (rational.draw(rng, *shape) for shape in ((k, d), (k,), (n, d)))
    return Instance("Proposition 1", B, v, x, rational.draw_invertible(rng, d), Fraction(1))


def shifted_output(k: int, d: int, seed: int, n: int = 8) -> Instance:
    """Proposition 2's setting: a random network, support and t of any sign, 0 included; A = I."""
    rng = _rng(k, d, n, seed)
    B, v, x = (rational.draw(rng, *shape) for shape in ((k, d), (k,), (n, d)))
    return Instance("Proposition 2", B, v, x, rational.identity(d), rational.draw(rng, 1)[0])


def reflected_input(k: int, d: int, seed: int, n: int = 8) -> Instance:
    """Proposition 1's counterexample: A = -I, and B_pre x > 0 entrywise on the support.

    Entries of B_pre and x are drawn positive, those of v_pre of any sign. Where y = 0 on the whole support, 1 is
    added to the first entry of v_pre: that E y^2 > 0 is a condition that the paper's proof leaves unsaid.
    """
    rng = _rng(k, d, n, seed)
    B, x = (rational.draw(rng, *shape, positive=True) for shape in ((k, d), (n, d)))
    v = _with_labels(rational.draw(rng, k), B, x)
    return Instance("Proposition 1, counterexample", B, v, x, -rational.identity(d), Fraction(1))


def reflected_output(k: int, d: int, seed: int, n: int = 8) -> Instance:
    """Proposition 2's counterexample: t = -1, and B_pre, v_pre and x drawn positive; A = I."""
    rng = _rng(k, d, n, seed)
    shapes = ((k, d), (k,), (n, d))
    B, v, x = (rational.draw(rng, *shape, positive=True) for shape in shapes)
    I = rational.identity(d)  # noqa: E741
    return Instance("Proposition 2, counterexample", B, v, x, I, Fraction(-1))


def _rng(k: int, d: int, n: int, seed: int) -> np.random.Generator:
    for name, value, smallest in (("k", k, 1), ("d", d, 1), ("n", n, 1), ("seed", seed, 0)):
        checks.at_least(name, value, smallest)
    return np.random.default_rng(seed)


def _with_labels(v: Any, B: Any, x: Any) -> Any:
    """`v`, or `v` + e_1 if v^T B x = 0 on the whole support, where B x > 0."""
    e = np.array([Fraction(i == 0) for i in range(len(v))], dtype=object)
    return v if (x @ B.T @ v).any() else v + e
