"""How much faster than one trial at a time with scipy: the exact law, and the flow of many trials at once.

Trials of Theorem 1 at d = 24, d_src = 20, d_orth = 4, n = 18, k = 1. The baseline is scipy's `solve_ivp` of both
layers' flow, a trial after the other, at equal or lesser accuracy: for the law its default method RK45 at rtol
1e-12, for the batched flow DOP853 at rtol 1e-9, the method that this uses too. Of its other methods LSODA does best
here, six times as fast as DOP853: against it, divide the ratios by six. All on one thread; a ratio is the median
over ROUNDS of baseline seconds / our seconds, taking turns.
"""

import time
import tracemalloc
from statistics import median

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from theory.exact import first_layer_limit, fit, full_limit
from theory.flow import flow
from theory.networks import Network
from theory.theorem1 import Setting, draw

ROUNDS = 3
LAW_TRIALS, LAW_BAR = 10_000, 1000.0
FLOW_TRIALS, FLOW_BAR = 256, 20.0
BASELINE_TRIALS = 32  # timed, for all
SETTING = Setting(n=18, d_src=20, d_orth=4)


def trials(count, seed=0):
    return draw(SETTING, count, np.random.default_rng(seed))


def one_trial(B, v, x, y, method, rtol):
    """The last layer at the end of one trial's flow: the slowest mode has decayed by e^-25."""
    s = np.linalg.svd(x, compute_uv=False)
    slowest = 2 * v[0] ** 2 * s[s > 1e-10 * s[0]].min() ** 2

    def velocity(_, q):
        b, v = q[:-1], q[-1]
        r = x @ b * v - y
        return -2 * np.append(v * (r @ x), (x @ b) @ r)

    start = np.append(B[0], v)
    return solve_ivp(velocity, (0, 25 / slowest), start, method, rtol=rtol, atol=rtol).y[-1, -1]


def sample(drawn):
    """Trials in equal shares from fast to slow among the first FLOW_TRIALS: few slow ones take most of the time."""
    some = drawn.take(np.arange(FLOW_TRIALS))
    order = np.argsort(flow(some.pre, some.x, some.y).t)
    return some.take(order[:: FLOW_TRIALS // BASELINE_TRIALS])


def baseline(drawn, method, rtol):
    """Seconds for a trial, and the largest relative error of its last layer."""
    exact = full_limit(drawn.pre, drawn.x, drawn.y).v[:, 0]
    start = time.perf_counter()
    got = [
        one_trial(*trial, method, rtol)
        for trial in zip(drawn.pre.B, drawn.pre.v, drawn.x, drawn.y, strict=True)
    ]
    seconds = (time.perf_counter() - start) / len(got)
    return seconds, np.abs(np.array(got) / exact - 1).max()


def paired(benchmark, drawn, ours, bar, method, rtol):
    pairs, some = [], sample(drawn)

    def once():
        slow, error = baseline(some, method, rtol)
        start = time.perf_counter()
        ours(drawn, error)
        pairs.append((slow * len(drawn.w), time.perf_counter() - start))

    benchmark.pedantic(once, rounds=ROUNDS)
    ratio = median(slow / fast for slow, fast in pairs)
    seconds = median(fast for _, fast in pairs)
    benchmark.extra_info.update(ratio=round(ratio, 1), seconds=round(seconds, 2), pairs=pairs)
    print(f"\n{len(drawn.w):,} trials: {ratio:.0f}x, {seconds:.2f} s")
    assert ratio >= bar


def test_exact_law(benchmark):
    """Limits of both kinds of tuning and their target losses."""

    def ours(drawn, _):
        data = fit(drawn.x, drawn.y)
        for law in (first_layer_limit, full_limit):
            drawn.target_loss(law(drawn.pre, drawn.x, drawn.y, data))

    paired(benchmark, trials(LAW_TRIALS), ours, LAW_BAR, "RK45", 1e-12)


def test_batched_flow(benchmark):
    drawn = trials(FLOW_TRIALS)
    exact = full_limit(drawn.pre, drawn.x, drawn.y).v

    def ours(drawn, error):
        end = flow(drawn.pre, drawn.x, drawn.y)
        assert (end.status == "converged").all()
        assert np.abs(end.net.v / exact - 1).max() <= error

    paired(benchmark, drawn, ours, FLOW_BAR, "DOP853", 1e-9)


@pytest.mark.parametrize("count", [256, 1024])
def test_memory_is_bounded_by_the_chunk(count):
    """Beyond the arrays of problem and result, linear in the trials, a flow holds no more than a chunk needs."""
    drawn = trials(count)
    chunk, size = 64, drawn.pre.B[0].size + 1
    tracemalloc.start()
    flow(Network(*drawn.pre), drawn.x, drawn.y, chunk=chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    arrays = 6 * (drawn.x.nbytes + drawn.pre.B.nbytes)  # inputs, their bases, states, results
    stages = 40 * chunk * size * 8  # of the solver
    assert peak < arrays + stages + 2**20
