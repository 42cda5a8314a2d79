"""Gradient flow of two-layer networks: d(B, v)/dt = -gradient of L(B, v) = sum_i (v^T phi(B x_i) - y_i)^2.

`flow` integrates many trials at once: one adaptive explicit solver (scipy's DOP853, order 8) carries them all.
Trials leave as they converge; those that it would follow too slowly because they are stiff go on one by one
with an implicit solver (scipy's LSODA or Radau). Nothing is silent: every trial ends with a status.
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import DOP853, LSODA, OdeSolver, Radau

from theory import checks
from theory.networks import Array, Network
from theory.problem import Problem, Watch
from theory.rotated import Rotated
from theory.trials import RUNNING, STIFF, Trials

FIRST = 0.01  # first step, as a share of the fastest trial's time unit
IMPLICIT = {"linear": LSODA, "relu": Radau}  # LSODA is faster, but does not get past a kink
PATIENCE = 40  # explicit steps per running trial; with fewer, finishing it alone takes longer


@dataclass(frozen=True)
class Flow:
    """Where each trial ended; leading axis trials.

    status: "converged"; "max time" (`max_time` or the last of `times` reached); "stiff" (out of steps, as where a
        ReLU network slides along a kink, x_i.b_j = 0, on which no solver gets ahead); "non-finite".
    t: the time reached. loss: the training loss there.
    path: the networks at `times`, B (trials, times, k, d) and v (trials, times, k); NaN where not reached.
    lowest, highest: least and largest value of `watch` at and within all steps; infinite without it.
    """

    net: Network
    status: np.ndarray
    t: Array
    loss: Array
    path: Network | None
    lowest: Array
    highest: Array


def flow(
    net: Network,
    x: Array,
    y: Array,
    tune: str = "all",
    phi: str = "linear",
    times: Array | None = None,
    rtol: float = 1e-10,
    tol: float = 1e-13,
    max_time: float = 1e300,
    max_steps: int = 3000,
    stiff: bool = True,
    stop_below: Array | float = -np.inf,
    watch: Watch | None = None,
    chunk: int = 512,
) -> Flow:
    """Follow the flow from `net` over `times`, or without them to convergence.

    net, x, y: B (trials, k, d), v (trials, k), x (trials, n, d), y (trials, n); what lacks the leading axis
        is shared by all trials.
    tune: the layer that moves: "first" (B), "last" (v) or "all".
    times: increasing, >= 0: the networks at these times are kept in `path`.
    rtol: relative error of one step in any entry, 0 < rtol < 1.
    tol: converged is |gradient| <= tol * curvature * |(B, v)|, where curvature, 2 |X|^2 times |B|^2 if v moves plus
        |v|^2 if B moves, bounds the Hessian. Of a linear network's B, the part in the span of the inputs counts.
    max_time: without `times`, the time to stop at.
    max_steps: of the explicit solver, and then of the implicit one; not `stiff`: of the explicit one alone.
    stop_below: a trial also counts as converged once its loss is below this (trials,).
    watch: (networks of some trials, the indices of these trials) -> one value each, e.g. the target loss.
    chunk: trials in memory at a time.

    Raises ValueError for arguments of other shapes or outside these ranges.
    """
    checks.between("rtol", rtol, 0, 1)
    checks.between("tol", tol, 0, 1)
    checks.between("max_time", max_time, 0, np.inf)
    checks.at_least("max_steps", max_steps, 1)
    times = None if times is None else _increasing(times)
    with np.errstate(over="ignore", invalid="ignore"):
        problem = Rotated(net, x, y, tune) if phi == "linear" else Problem(net, x, y, tune, phi)
        trials = Trials(problem, times, tol, max_time, stop_below, watch)
    for start in range(0, len(trials), checks.at_least("chunk", chunk, 1)):
        index = np.arange(start, min(start + chunk, len(trials)))
        trials.begin(index)
        _follow(trials, index, DOP853, rtol, max_steps, PATIENCE if stiff else max_steps)
        for i in trials.running(index) if stiff else ():
            _follow(trials, np.array([i]), IMPLICIT[phi], rtol, max_steps, max_steps)
    trials.status[trials.status == RUNNING] = STIFF
    return _result(trials)


def _follow(
    trials: Trials,
    index: np.ndarray,
    method: type[OdeSolver],
    rtol: float,
    max_steps: int,
    patience: int,
) -> None:
    """Integrate the trials `index` until each has ended, the steps are spent, or the solver gives up.

    patience: steps per trial that still runs; a few trials do not get as many steps as many do.
    """
    steps, first_step = 0, None
    while steps < (budget := min(max_steps, patience * len(trials.running(index)))):
        index = trials.running(index)
        solver = _solver(trials, index, method, rtol, first_step)
        while steps < budget and 8 * len(trials.running(index)) > 7 * len(index):
            with np.errstate(over="ignore", invalid="ignore"):
                solver.step()
            steps += 1
            if solver.status == "failed":
                break
            trials.accept(index, solver)
        if solver.status == "failed" and not trials.drop_non_finite(index):
            return
        first_step = solver.step_size


def _solver(
    trials: Trials,
    index: np.ndarray,
    method: type[OdeSolver],
    rtol: float,
    first_step: float | None,
) -> OdeSolver:
    """At the present state of `index`. scipy takes the root mean square of all entries' errors over their
    tolerances: at rtol / sqrt(entries) the largest of them stays within rtol."""
    q = trials.q[index]
    fine = max(rtol / np.sqrt(q.size), 1e-13)
    atol = np.broadcast_to(fine * np.abs(q).max(axis=1, keepdims=True), q.shape).ravel()
    start, end = trials.s[index[0]], np.inf if trials.times is None else trials.times[-1]
    # scipy's own first step is NaN, and its search endless, where a squared velocity overflows
    first_step = min(first_step or FIRST * trials.pace(index), end - start)
    return method(
        trials.velocity(index), start, q.ravel(), end, rtol=fine, atol=atol, first_step=first_step
    )


def _increasing(times: Array) -> Array:
    times = checks.array("times", times, ndim=1)
    if not len(times) or times[0] < 0 or (np.diff(times) <= 0).any():
        raise ValueError(f"times must increase from 0 or later on, not {times}")
    return times


def _result(trials: Trials) -> Flow:
    problem, every = trials.problem, np.arange(len(trials))
    with np.errstate(over="ignore", invalid="ignore"):
        loss = problem.loss(trials.q, every)
    path = None if trials.times is None else problem.network(trials.kept, every)
    t = trials.s * trials.unit
    net = problem.network(trials.q, every)
    return Flow(net, trials.status, t, loss, path, trials.lowest, trials.highest)
