"""Gradient flow: what it keeps, how it ends, and that it is one with slow references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances_at_random import Instance, distance, flat, instance
from scipy.integrate import solve_ivp

from theory.exact import fit, full_limit
from theory.flow import flow
from theory.monitors import conserved
from theory.networks import Network, gradients, linear_loss
from theory.problem import Problem
from theory.rotated import Rotated
from theory.trials import STATUSES

SIZES = {"n": st.integers(1, 6), "d": st.integers(1, 6), "seed": st.integers(0, 999)}
few = settings(deadline=None, max_examples=15)
TIMES = np.array([0.0, 0.02, 0.1, 0.5, 2.0])


def slow_velocity(x, y, k, phi):
    """The right-hand side by loops over examples and hidden units, in plain numbers."""
    n, d = x.shape

    def rhs(_, q):
        B, v = [[q[i * d + j] for j in range(d)] for i in range(k)], q[k * d :]
        dq = [0.0] * len(q)
        for m in range(n):
            z = [sum(B[i][j] * x[m, j] for j in range(d)) for i in range(k)]
            on = [1.0 if phi == "linear" or value > 0 else 0.0 for value in z]
            r = sum(v[i] * on[i] * z[i] for i in range(k)) - y[m]
            for i in range(k):
                for j in range(d):
                    dq[i * d + j] -= 2 * r * v[i] * on[i] * x[m, j]
                dq[k * d + i] -= 2 * r * on[i] * z[i]
        return dq

    return rhs


@pytest.mark.parametrize(("phi", "method"), [("linear", "LSODA"), ("relu", "RK45")])
def test_slow_reference(phi, method):
    """Other methods of scipy on the loops above (LSODA does not get past the kinks of ReLU)."""
    case = instance(4, trials=1, n=3, d=2, k=2, phi=phi, noise=0.3)
    q0, rhs = flat(case.net)[0], slow_velocity(case.x[0], case.y[0], 2, phi)
    slow = solve_ivp(rhs, (0, 2), q0, method, TIMES, rtol=1e-12, atol=1e-13)
    path = flat(flow(*case, phi=phi, times=TIMES).path)[0]
    np.testing.assert_allclose(path, slow.y.T, rtol=0, atol=1e-8)


@few
@given(k=st.integers(1, 4), **SIZES)
def test_conserved_at_all_times(n, d, k, seed):
    """Eq. 16 for any k: v v^T - B B^T."""
    case = instance(seed, n=n, d=d, k=k, noise=0.5)
    path = flow(*case, times=TIMES).path
    before = conserved(case.net)[:, None]
    size = (case.net.v**2).sum(-1).max() + (case.net.B**2).sum((-2, -1)).max()
    np.testing.assert_allclose(conserved(path), before + 0 * conserved(path), atol=1e-9 * size)


@few
@given(k=st.integers(1, 3), tune=st.sampled_from(["first", "all"]), **SIZES)
def test_what_the_data_do_not_see_never_moves(n, d, k, tune, seed):
    case = instance(seed, n=n, d=d, k=k)
    moved = flow(*case, tune=tune).net.B - case.net.B  # (trials, k, d)
    Q = fit(case.x, case.y).Q
    off = moved - moved @ Q.swapaxes(-1, -2) @ Q
    np.testing.assert_allclose(off, 0, atol=1e-12)


@few
@given(
    tune=st.sampled_from(["first", "last", "all"]), phi=st.sampled_from(["linear", "relu"]), **SIZES
)
def test_the_loss_only_falls_and_frozen_layers_stay(n, d, tune, phi, seed):
    case = instance(seed, n=n, d=d, k=2, phi=phi, noise=0.5)
    end = flow(*case, tune=tune, phi=phi, times=TIMES, max_steps=300)
    path = end.path
    loss, _ = gradients(path, case.x[:, None], case.y[:, None], phi)
    reached = ~np.isnan(loss)  # a ReLU network may slide along a kink, which ends it as stiff
    assert reached[end.status != "stiff"].all() and reached[:, 0].all()
    assert (np.diff(loss, axis=1)[reached[:, 1:]] <= 1e-9 * np.nanmax(loss)).all()
    if tune == "first":
        assert (end.net.v == case.net.v).all()
    if tune == "last":
        assert (end.net.B == case.net.B).all()


@few
@given(k=st.integers(1, 3), tune=st.sampled_from(["first", "last", "all"]), **SIZES)
def test_rotation_leaves_the_velocity_as_it_is(n, d, k, tune, seed):
    """Linear networks are integrated in the basis of their data; seen from outside nothing changes."""
    case = instance(seed, n=n, d=d, k=k, noise=0.5)
    index, unit = np.arange(3), np.array([1.0, 0.5, 2.0])
    plain, turned = Problem(*case, tune, "linear"), Rotated(*case, tune)
    q = turned.q + 0.3  # somewhere on a path
    net = turned.network(q, index)
    dq = turned.velocity(index, unit)(q)
    step = flat(turned.network(q + dq, index)) - flat(net)
    np.testing.assert_allclose(step, plain.velocity(index, unit)(flat(net)), atol=1e-10)
    np.testing.assert_allclose(turned.loss(q, index), plain.loss(flat(net), index), atol=1e-10)


def test_times_include_the_start_and_all_asked_for():
    case = instance(0)
    end = flow(*case, times=TIMES)
    assert end.path.B.shape == (3, 5, 1, 5) and end.path.v.shape == (3, 5, 1)
    assert distance(Network(end.path.B[:, 0], end.path.v[:, 0]), case.net) < 1e-15
    assert distance(Network(end.path.B[:, -1], end.path.v[:, -1]), end.net) < 1e-15
    assert set(end.status) == {"max time"} and (end.t == 2.0).all()
    only_now = flow(*case, times=np.array([0.0]))
    assert distance(only_now.net, case.net) < 1e-15 and set(only_now.status) == {"max time"}


@pytest.mark.parametrize("tune", ["first", "last", "all"])
def test_a_start_at_the_limit_stays(tune):
    net, x, _ = instance(1)
    y = (x @ (net.v[:, None] @ net.B)[:, 0, :, None])[..., 0]
    end = flow(net, x, y, tune=tune)
    assert set(end.status) == {"converged"} and (end.t == 0).all()
    assert distance(end.net, net) < 1e-12


def test_the_saddle_at_zero_is_an_end():
    end = flow(Network(np.zeros((1, 1, 2)), np.zeros((1, 1))), np.eye(2), np.ones(2))
    assert end.status.tolist() == ["converged"] and end.loss.tolist() == [2.0]


@pytest.mark.parametrize("scale", [1e-4, 10.0, 1e3])
def test_any_scale_of_the_start(scale):
    net, x, y = instance(2, trials=4)
    start = Network(scale * net.B, 3 * scale * np.array([[1], [1], [-1], [-1]]))
    end = flow(start, x, y)
    assert set(end.status) == {"converged"}
    assert distance(end.net, full_limit(start, x, y)) < 1e-8


def test_trials_of_very_different_scales_at_once():
    net, x, y = instance(6, trials=4)
    scale = np.array([1e-3, 1.0, 10.0, 0.1])
    case = Network(net.B * scale[:, None, None], 3 * scale[:, None]), x, y
    assert distance(flow(*case).net, full_limit(*case)) < 1e-8


def ill_conditioned():
    """One direction 100 times fainter than the other: rates differ by 10^4."""
    net, _, _ = instance(3, trials=2, d=2)
    x = np.diag([1.0, 1e-2])
    return Instance(net, x, x @ np.array([1.0, -1.0]))


def test_stiff_is_said():
    end = flow(*ill_conditioned(), max_steps=200, stiff=False)
    assert end.status.tolist() == ["stiff", "stiff"]
    assert np.isfinite(flat(end.net)).all() and (end.t > 0).all()


def test_the_implicit_solver_finishes_what_is_stiff():
    case = ill_conditioned()
    end = flow(*case, max_steps=500)
    assert end.status.tolist() == ["converged", "converged"]
    assert distance(end.net, full_limit(*case)) < 1e-7


def test_max_time():
    case = instance(5)
    end = flow(*case, max_time=0.3)
    assert set(end.status) == {"max time"} and (end.t >= 0.3).all()


@pytest.mark.parametrize(("phi", "tune"), [("linear", "all"), ("relu", "last")])
@pytest.mark.parametrize("huge", ["x", "y", "B"])
def test_overflow_is_said_and_harms_no_other_trial(phi, tune, huge):
    net, x, y = instance(0, k=2, phi=phi)
    B, x, y = net.B.copy(), x.copy(), y.copy()
    {"x": x, "y": y, "B": B}[huge][1] *= 1e200
    end = flow(Network(B, net.v), x, y, tune, phi)
    assert end.status.tolist() == ["converged", "non-finite", "converged"]
    well = [0, 2]
    alone = flow(Network(B[well], net.v[well]), x[well], y[well], tune, phi)
    assert distance(Network(end.net.B[well], end.net.v[well]), alone.net) < 1e-8


def test_a_slide_along_a_kink_is_said():
    """On one side of an example's kink the gradient points to the other, and back."""
    net, x, y = instance(0, phi="relu", k=2)
    end = flow(net, x, y, phi="relu")
    assert end.status.tolist() == ["stiff", "converged", "converged"]
    z = np.abs(x[0] @ end.net.B[0].T)
    assert z.min() < 1e-8 and z.max() > 0.1


@pytest.mark.parametrize("phi", ["linear", "relu"])
def test_a_trial_alone_and_among_others(phi):
    case = instance(7, trials=9, k=2, phi=phi)
    together = flow(*case, phi=phi, times=TIMES).path
    for i in (0, 4, 8):
        net = Network(case.net.B[i], case.net.v[i])
        alone = flow(net, case.x[i], case.y[i], phi=phi, times=TIMES).path
        assert distance(Network(together.B[[i]], together.v[[i]]), alone) < 1e-9


def test_chunks_change_nothing():
    case = instance(8, trials=7, k=2)
    ends = [flow(*case, chunk=chunk) for chunk in (1, 3, 512)]
    for end in ends:
        assert set(end.status) == {"converged"}
        assert distance(end.net, ends[-1].net) < 1e-9


def test_what_lacks_the_leading_axis_is_shared():
    net, x, y = instance(9, trials=1)
    nets = Network(np.repeat(net.B, 2, 0), np.repeat(net.v, 2, 0))
    shared = flow(nets, x[0], y[0])
    assert shared.net.B.shape == (2, 1, 5)
    assert distance(shared.net, flow(nets, np.repeat(x, 2, 0), np.repeat(y, 2, 0)).net) < 1e-12


def test_stop_below():
    case = instance(10, trials=4)
    start, _ = gradients(*case)
    end = flow(*case, stop_below=0.5 * start)
    assert set(end.status) == {"converged"}
    assert (end.loss < 0.5 * start).all() and (end.loss > 1e-6 * start).all()


def test_watch_sees_the_lowest_and_the_highest():
    """Against the networks at 2,000 times, between which little happens."""
    net, x, y = instance(11, trials=4, n=2)
    w, Sigma = np.ones(5), np.eye(5)
    indices = []

    def watch(seen, index):
        indices.append(index)
        return linear_loss(seen, w, Sigma)

    end = flow(net, x, y, watch=watch)
    dense = flow(net, x, y, times=np.linspace(0, end.t.max(), 2000))
    values = np.concatenate([linear_loss(dense.path, w, Sigma), watch(end.net, None)[:, None]], 1)
    assert (end.lowest <= 1.001 * values.min(1)).all()
    assert (end.highest >= 0.999 * values.max(1)).all()
    np.testing.assert_allclose(end.lowest, values.min(1), rtol=0.02)
    np.testing.assert_allclose(end.highest, values.max(1), rtol=0.02)
    assert indices[0].tolist() == [0, 1, 2, 3]


def test_without_watch():
    end = flow(*instance(0))
    assert (end.lowest == np.inf).all() and (end.highest == -np.inf).all()
    assert end.path is None and set(end.status) <= set(STATUSES)


CASE = instance(0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tune": "middle"}, r"tune must be one of \['all', 'first', 'last'\], not 'middle'"),
        ({"phi": "tanh"}, r"phi must be one of \['linear', 'relu'\], not 'tanh'"),
        ({"rtol": 0.0}, "rtol must lie strictly between 0 and 1, not 0.0"),
        ({"tol": np.nan}, "tol must lie strictly between 0 and 1, not nan"),
        ({"max_time": -1.0}, "max_time must lie strictly between 0 and inf, not -1.0"),
        ({"max_steps": 0}, "max_steps must be an integer of at least 1, not 0"),
        ({"chunk": 0}, "chunk must be an integer of at least 1, not 0"),
        ({"times": np.array([0.2, 0.1])}, r"times must increase .* not \[0\.2 0\.1\]"),
        ({"times": np.array([-1.0])}, r"times must increase .* not \[-1\.\]"),
        ({"times": np.zeros(0)}, r"times must increase .* not \[\]"),
        ({"x": np.ones((3, 4, 9))}, r"x has shape \(3, 4, 9\); .*\(any, 5\)"),
        ({"x": np.ones((3, 0, 5)), "y": np.ones((3, 0))}, "n must be .* at least 1, not 0"),
        ({"y": np.ones((3, 7))}, r"y has shape \(3, 7\); .*\(4\)"),
        ({"y": np.ones((5, 4))}, r"one leading axis, of trials, not .*\(5,\)"),
        ({"x": np.ones((2, 3, 4, 5))}, r"one leading axis, of trials, not .*\(2, 3\)"),
        ({"y": np.full((3, 4), np.nan)}, "y must be finite, but holds nan"),
        ({"net": Network(CASE.net.B, np.ones((3, 2)))}, r"v has shape \(3, 2\); .*\(1\)"),
        (
            {"stop_below": np.ones(2)},
            r"stop_below must be a number or one per trial, 3, not \[1\. 1\.\]",
        ),
    ],
)
def test_arguments(changed, message):
    with pytest.raises(ValueError, match=message):
        flow(**{**CASE._asdict(), **changed})
