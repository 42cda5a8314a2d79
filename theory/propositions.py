"""Propositions 1 and 2 (section 3.1, proofs in A.1): what undoes a shift, and the bounds of the counterexamples.

All take an `Instance`; on one that holds Fractions they are exact.
"""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from theory import rational
from theory.instances import Instance, shifted_input, shifted_output
from theory.networks import Network


def tuned_first_layer(instance: Instance) -> Network:
    """B = t B_pre A^-1 with v_pre: no target loss for t >= 0, by Eq. 5 and relu(t z) = t relu(z).

    Raises ValueError for t < 0, where Proposition 2 denies that there always is such a B.
    """
    if instance.t < 0:
        raise ValueError(f"t must be at least 0 for the first layer to undo it, not {instance.t}")
    if instance.exact:
        undone = instance.B_pre @ rational.inverse(instance.A)
    else:
        undone = np.linalg.solve(instance.A.T, instance.B_pre.T).T
    return Network(instance.t * undone, instance.v_pre)


def tuned_last_layer(instance: Instance) -> Network:
    """v = (t / s) v_pre with B_pre where A = s I, s > 0: no target loss, by Eq. 6 and relu(s z) = s relu(z).

    s = 1 is Proposition 2; any other s is a brightness shift, which either layer can undo.
    Raises ValueError for any other A, where Proposition 1 denies that there always is such a v.
    """
    s = instance.A[0, 0]
    if not (s > 0 and (s * np.eye(instance.d, dtype=int) == instance.A).all()):
        raise ValueError(f"A must be s I with s > 0 for v to undo it, not\n{instance.A}")
    return Network(instance.B_pre, instance.t / s * instance.v_pre)


def exact_losses(sizes: Iterable[tuple[int, int]], seeds: Iterable[int]) -> pd.DataFrame:
    """Both constructions in exact arithmetic: a row per proposition, size (k, d) and seed.

    `untuned` and `tuned` are target losses as Fractions, without and with the proposition's layer tuned.
    """
    rows = []
    for (k, d), seed in itertools.product(sizes, seeds):
        input_, output = shifted_input(k, d, seed), shifted_output(k, d, seed)
        tried = ((input_, tuned_first_layer, "first"), (output, tuned_last_layer, "last"))
        for instance, construction, layer in tried:
            about = {"instance": instance.name, "tuned layer": layer, "k": k, "d": d, "seed": seed}
            untuned = instance.loss(instance.B_pre, instance.v_pre)
            rows.append(
                about | {"untuned": untuned, "tuned": instance.loss(*construction(instance))}
            )
    return pd.DataFrame(rows)


def last_layer_bound(instance: Instance) -> Any:
    """E y_trg^2, below which no last layer gets where relu(B_pre x_trg) = 0 on the whole support.

    Proof: v^T relu(B_pre x_trg) = 0 for every v, so every v has the loss E (0 - y_trg)^2.
    Raises ValueError where a feature is not 0.
    """
    alive = int((instance.features > 0).sum())
    if alive:
        total = instance.features.size
        raise ValueError(f"relu(B_pre x_trg) must be 0, but {alive} of its {total} entries are not")
    return instance.label_power


def first_layer_bound(instance: Instance) -> Any:
    """E y_trg^2, below which no first layer gets where v_pre >= 0 and y_trg <= 0 on the whole support.

    Proof: p = v_pre^T relu(B x) >= 0 for every B, so (p - y)^2 = y^2 + p (p - 2 y) >= y^2. Any B whose units
    are all dead attains it. Signs reversed throughout, the same holds.
    Raises ValueError where the signs are others.
    """
    if not any(
        (s * instance.v_pre >= 0).all() and (s * instance.y_trg <= 0).all() for s in (1, -1)
    ):
        raise ValueError(
            "v_pre must have one sign and y_trg the other, "
            f"not v_pre = {instance.v_pre} and y_trg = {instance.y_trg}"
        )
    return instance.label_power
