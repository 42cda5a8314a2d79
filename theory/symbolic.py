"""Propositions 1 and 2 in SymPy: the constructions for all k and d, the counterexamples entry by entry.

Every function returns an expression whose value is the statement (0, or a sign), and leaves the comparison to
the reader. The constructions hold for any elementwise phi, so phi is left opaque there.
"""

from typing import NamedTuple

import sympy
from sympy import Expr, Function, Lambda, Matrix, MatrixSymbol, Max, Symbol

from theory import checks

z = Symbol("z", real=True)
RELU = Lambda(z, Max(0, z))
PHI = Lambda(z, Function("phi")(z))  # any elementwise activation


class Sizes(NamedTuple):
    """Symbols of fixed letters and of any size: B (k, d), v (k, 1), A (d, d), x (d, 1)."""

    B: MatrixSymbol
    v: MatrixSymbol
    A: MatrixSymbol
    x: MatrixSymbol


def any_size() -> Sizes:
    """The matrices of the paper with k and d left as symbols."""
    k, d = sympy.symbols("k d", integer=True, positive=True)
    return Sizes(
        MatrixSymbol("B", k, d),
        MatrixSymbol("v", k, 1),
        MatrixSymbol("A", d, d),
        MatrixSymbol("x", d, 1),
    )


def first_layer_residual() -> Expr:
    """f(A x; B A^-1, v) - f(x; B, v) of Proposition 1 for all k, d, B, v, x and invertible A (Eq. 5)."""
    B, v, A, x = any_size()
    undone = B * A.inverse() * (A * x)
    return (v.T * undone.applyfunc(PHI) - v.T * (B * x).applyfunc(PHI)).doit()[0, 0]


def last_layer_residual() -> Expr:
    """f(x; B, t v) - t f(x; B, v) of Proposition 2 for all k, d, B, v, x and t (Eq. 6)."""
    B, v, _, x = any_size()
    t = Symbol("t", real=True)
    return ((t * v).T * (B * x).applyfunc(PHI) - t * v.T * (B * x).applyfunc(PHI)).doit()[0, 0]


def first_layer_residual_by_entry(k: int, d: int) -> Expr:
    """The same as `first_layer_residual` with relu and A^-1 written out; d up to 3 takes seconds."""
    B, v, A, x = (letters(*given) for given in (("B", k, d), ("v", k), ("A", d, d), ("x", d)))
    undone = (B * A.inv() * (A * x)).applyfunc(sympy.cancel)
    return (v.T * undone.applyfunc(RELU))[0] - (v.T * (B * x).expand().applyfunc(RELU))[0]


def scale_residual() -> Expr:
    """relu(s z) - s relu(z), s > 0: why the first layer undoes t > 0, and the last layer brightness."""
    s = Symbol("s", positive=True)
    return (RELU(s * z) - s * RELU(z)).rewrite(sympy.Abs).expand()


class Counterexample(NamedTuple):
    """The label y_trg, the prediction for any tuned layer, and loss(prediction) - loss(0) at one input."""

    label: Expr
    prediction: Expr
    excess: Expr


def last_layer_counterexample(k: int, d: int) -> Counterexample:
    """Proposition 1, A = -I: B_pre, x > 0 entrywise; v is the tuned last layer, of any sign."""
    B, x = letters("B", k, d, positive=True), letters("x", d, positive=True)
    v_pre, v = letters("p", k), letters("v", k)
    A = -sympy.eye(d)
    y = (v_pre.T * (B * x).applyfunc(RELU))[0]
    return _counterexample(y, (v.T * (B * A * x).applyfunc(RELU))[0])


def first_layer_counterexample(k: int, d: int) -> Counterexample:
    """Proposition 2, t = -1: B_pre, v_pre, x > 0 entrywise; B is the tuned first layer, of any sign."""
    B_pre, v_pre = letters("P", k, d, positive=True), letters("p", k, positive=True)
    x, B = letters("x", d, positive=True), letters("B", k, d)
    y = -(v_pre.T * (B_pre * x).applyfunc(RELU))[0]
    return _counterexample(y, (v_pre.T * (B * x).applyfunc(RELU))[0])


def letters(name: str, rows: int, columns: int = 1, positive: bool = False) -> Matrix:
    """A (rows, columns) matrix of real, or positive, symbols name_ij (name_i if there is one column)."""
    checks.at_least("k and d", min(rows, columns), 1)
    kind = {"positive": True} if positive else {"real": True}

    def entry(i: int, j: int) -> Symbol:
        return Symbol(f"{name}_{i + 1}" + (f"_{j + 1}" if columns > 1 else ""), **kind)

    return Matrix(rows, columns, entry)


def _counterexample(y: Expr, p: Expr) -> Counterexample:
    """(p - y)^2 - y^2 as p (p - 2 y), whose sign SymPy can read from those of its factors."""
    excess = p * (p - 2 * y)
    assert sympy.expand((p - y) ** 2 - y**2 - excess) == 0
    return Counterexample(y, p, excess)
