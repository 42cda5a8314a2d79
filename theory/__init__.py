"""Two-layer networks and their theorems: sections 3.1, 3.2 and appendix A of the paper, checked numerically.

Imports nothing from surgicalft, which imports nothing from here. In reading order:

    networks       f(x) = v^T phi(B x), losses, gradients            distributions  P_src, P_orth, P_trg
    propositions   Propositions 1 and 2: constructions, counterexamples, bounds
    flow           gradient flow of many trials at once               descent        steps, momentum, Adam
    exact          where the flow ends, in closed form                signs, whitened  its missing bit
    forgetting     what full tuning loses, and a bound at all times    theorem1       Theorem 1, trial by trial
    phase, breaks, discrete_breaks   where it holds, and what breaks it
"""

from theory.distributions import Shift, random_shift
from theory.exact import first_layer_limit, full_limit, last_layer_limit, pretrained
from theory.flow import Flow, flow
from theory.networks import Network, linear_loss, predict, relu_loss
from theory.theorem1 import Setting, draw, find_setting, outcome, run, share

__all__ = [
    "Flow",
    "Network",
    "Setting",
    "Shift",
    "draw",
    "find_setting",
    "first_layer_limit",
    "flow",
    "full_limit",
    "last_layer_limit",
    "linear_loss",
    "outcome",
    "predict",
    "pretrained",
    "random_shift",
    "relu_loss",
    "run",
    "share",
]
