"""Steps of fixed size: against other implementations, against the flow, and what they do not conserve."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances_at_random import distance, flat, instance

from theory.descent import adam, descend, gradient_descent, momentum
from theory.exact import first_layer_limit, fit, full_limit
from theory.flow import flow
from theory.monitors import conserved
from theory.networks import Network, linear_loss

CASE = instance(1, k=2, noise=0.3)
RULES = {
    "gradient descent": gradient_descent(1e-3),
    "momentum": momentum(1e-3, 0.8),
    "adam": adam(1e-2, 0.8, 0.99, 1e-6),
}


def torch_optimizer(name, parameters, weight_decay):
    decay = {"weight_decay": weight_decay}
    if name == "adam":
        return torch.optim.Adam(parameters, lr=1e-2, betas=(0.8, 0.99), eps=1e-6, **decay)
    return torch.optim.SGD(parameters, 1e-3, 0.8 if name == "momentum" else 0.0, **decay)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("phi", ["linear", "relu"])
@pytest.mark.parametrize("tune", ["first", "last", "all"])
@pytest.mark.parametrize("name", RULES)
def test_same_as_torch(name, tune, phi, weight_decay):
    net, x, y = instance(3, trials=1, k=2, phi=phi, noise=0.3)
    B, v = torch.tensor(net.B[0], requires_grad=True), torch.tensor(net.v[0], requires_grad=True)
    moving = {"first": [B], "last": [v], "all": [B, v]}[tune]
    optimizer = torch_optimizer(name, moving, weight_decay)
    for _ in range(30):
        z = torch.tensor(x[0]) @ B.T
        loss = (((z.relu() if phi == "relu" else z) @ v - torch.tensor(y[0])) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    end = descend(net, x, y, RULES[name], 30, tune, phi, weight_decay)
    np.testing.assert_allclose(end.net.B[0], B.detach(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(end.net.v[0], v.detach(), rtol=1e-12, atol=1e-13)
    assert end.status.tolist() == ["done"] and end.steps.tolist() == [30]


def drift(rule, steps):
    """Largest change of v v^T - B B^T, in each trial."""
    end = descend(*CASE, rule, steps)
    assert set(end.status) == {"done"}
    return np.abs(conserved(end.net) - conserved(CASE.net)).max((1, 2))


def test_gradient_descent_drifts_with_its_step():
    """Eq. 16 holds for the flow alone; over the same time the drift is of order 1 in the step."""
    steps = np.array([250, 500, 1000, 2000])
    drifts = np.array([drift(gradient_descent(1 / m), m) for m in steps])
    slopes = np.polyfit(np.log(1 / steps), np.log(drifts), 1)[0]
    np.testing.assert_allclose(slopes, 1, atol=0.1)


def test_momentum_drifts_less_with_smaller_steps_and_adam_does_not():
    assert np.abs(conserved(flow(*CASE).net) - conserved(CASE.net)).max() < 1e-8
    heavy = [drift(momentum(h, 0.9), round(2 / h)) for h in (1e-3, 5e-4)]
    scaled = [drift(adam(h), round(5 / h)) for h in (1e-3, 5e-4)]
    assert (heavy[1] > 1e-5).all() and (scaled[1] > 1e-2).all()
    np.testing.assert_allclose(heavy[0] / heavy[1], 2, atol=0.3)
    np.testing.assert_allclose(scaled[0] / scaled[1], 1, atol=0.1)


def test_small_steps_follow_the_flow():
    times = np.array([0.2, 1.0])
    path = flow(*CASE, times=times).path
    for i, time in enumerate(times):
        there = Network(path.B[:, i], path.v[:, i])
        m = round(time * 20_000)
        assert distance(descend(*CASE, gradient_descent(time / m), m).net, there) < 1e-3


@settings(deadline=None, max_examples=15)
@given(n=st.integers(1, 6), d=st.integers(1, 6), k=st.integers(1, 3), seed=st.integers(0, 999))
def test_what_the_data_do_not_see(n, d, k, seed):
    """Gradient descent and momentum leave it alone; weight decay shrinks it, by (1 - step decay) a step."""
    net, x, y = instance(seed, n=n, d=d, k=k)
    Q = fit(x, y).Q

    def off(B):
        return B - B @ Q.swapaxes(-1, -2) @ Q

    for rule in (gradient_descent(1e-3), momentum(1e-3)):
        np.testing.assert_allclose(off(descend(net, x, y, rule, 20).net.B), off(net.B), atol=1e-12)
    decayed = descend(net, x, y, gradient_descent(1e-3), 20, weight_decay=2.0).net.B
    np.testing.assert_allclose(off(decayed), (1 - 2e-3) ** 20 * off(net.B), atol=1e-12)


def test_adam_moves_what_the_data_do_not_see():
    net, x, y = instance(2, n=2, d=5)
    Q = fit(x, y).Q
    moved = descend(net, x, y, adam(1e-2), 50).net.B - net.B
    assert np.abs(moved - moved @ Q.swapaxes(-1, -2) @ Q).max() > 1e-2


def test_first_layer_tuning_ends_in_its_limit():
    """Only B moves, in the span of the data: any step that converges has the flow's limit."""
    net, x, y = instance(4)
    step = 0.5 / ((net.v**2).sum(1) * np.linalg.norm(x, 2, axis=(1, 2)) ** 2)
    end = descend(net, x, y, gradient_descent(step), 500, "first")
    assert distance(end.net, first_layer_limit(net, x, y)) < 1e-10


def test_full_tuning_ends_elsewhere_than_the_flow():
    """The limit moves by O(step): v^2 - |b|^2 drifted on the way."""
    net, x, y = instance(4)
    limit = full_limit(net, x, y)
    steps = [(8e-3, 3000), (4e-3, 6000), (2e-3, 12000)]
    gaps = [distance(descend(net, x, y, gradient_descent(h), m).net, limit) for h, m in steps]
    slope = np.polyfit(np.log([h for h, _ in steps]), np.log(gaps), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


def test_steps_may_differ_by_trial():
    net, x, y = instance(5, trials=2)
    both = descend(net, x, y, momentum(np.array([1e-3, 5e-3])), 40).net
    for i, step in enumerate((1e-3, 5e-3)):
        alone = descend(Network(net.B[i], net.v[i]), x[i], y[i], momentum(step), 40).net
        assert distance(Network(both.B[[i]], both.v[[i]]), alone) < 1e-14


def test_divergence_is_said_and_harms_no_other_trial():
    net, x, y = instance(6, trials=3)
    end = descend(net, x, y, gradient_descent(np.array([1e-3, 10.0, 1e-3])), 400)
    assert end.status.tolist() == ["done", "diverged", "done"]
    assert end.steps[1] < 400 and end.steps[[0, 2]].tolist() == [400, 400]
    assert np.isfinite(flat(end.net)).all() and np.isfinite(end.loss).all()
    alone = descend(Network(net.B[2], net.v[2]), x[2], y[2], gradient_descent(1e-3), 400)
    assert distance(Network(end.net.B[[2]], end.net.v[[2]]), alone.net) < 1e-14


@pytest.mark.parametrize("name", RULES)
def test_overflow_at_the_start_is_said(name):
    net, x, y = instance(7)
    y[1] *= 1e200
    end = descend(net, x, y, RULES[name], 5)
    assert end.status.tolist() == ["done", "diverged", "done"] and end.steps.tolist() == [5, 0, 5]
    assert (flat(end.net)[1] == flat(net)[1]).all()


def test_watch_and_history():
    net, x, y = instance(8, trials=3)
    w, Sigma = np.ones(5), np.eye(5)

    def watch(seen, index):
        assert index.tolist() == [0, 1, 2]
        return linear_loss(seen, w, Sigma)

    rule = gradient_descent(np.array([1e-3, 10.0, 1e-2]))
    end = descend(net, x, y, rule, 30, watch=watch, history=True)
    assert end.history.shape == (31, 3)
    np.testing.assert_allclose(end.history[0], watch(net, np.arange(3)))
    assert np.isnan(end.history[-1, 1]) and end.status[1] == "diverged"
    for m in (1, 17, 30):
        there = descend(net, x, y, rule, m).net
        np.testing.assert_allclose(end.history[m, [0, 2]], linear_loss(there, w, Sigma)[[0, 2]])
    np.testing.assert_array_equal(end.lowest, np.nanmin(end.history, 0))
    np.testing.assert_array_equal(end.highest, np.nanmax(end.history, 0))
    assert descend(net, x, y, rule, 3, watch=watch).history is None


def test_no_steps():
    end = descend(*CASE, adam(0.1), 0)
    assert distance(end.net, CASE.net) == 0 and set(end.status) == {"done"}
    assert (end.lowest == np.inf).all() and (end.highest == -np.inf).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gradient_descent(0.0), "step must be above 0, .* not 0.0"),
        (lambda: gradient_descent(np.ones((2, 2))), "step must be above 0, a number or one per"),
        (lambda: momentum(-1e-3), "step must be above 0, .* not -0.001"),
        (lambda: momentum(np.nan), "step must be finite, but holds nan"),
        (lambda: momentum(0.1, 1.0), "beta must be at least 0 and below 1, not 1.0"),
        (lambda: adam(0.1, beta1=-0.1), "beta1 must be at least 0 and below 1, not -0.1"),
        (lambda: adam(0.1, beta2=np.nan), "beta2 must be at least 0 and below 1, not nan"),
        (lambda: adam(0.1, eps=0.0), "eps must lie strictly between 0 and inf, not 0.0"),
    ],
)
def test_rules_that_do_not_exist(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": -1}, "steps must be an integer of at least 0, not -1"),
        ({"steps": 1.5}, "steps must be an integer of at least 0, not 1.5"),
        ({"tune": "none"}, r"tune must be one of \['all', 'first', 'last'\], not 'none'"),
        ({"phi": "gelu"}, r"phi must be one of \['linear', 'relu'\], not 'gelu'"),
        ({"weight_decay": -0.1}, "weight_decay must be finite and at least 0, not -0.1"),
        ({"weight_decay": np.nan}, "weight_decay must be finite and at least 0, not nan"),
        ({"history": True}, "watch must be given, not None"),
        ({"rule": momentum(np.full(2, 0.1))}, "step holds 2 values for 3 trials"),
        ({"x": np.ones((3, 4, 6))}, r"x has shape \(3, 4, 6\)"),
        ({"y": np.full((3, 4), np.inf)}, "y must be finite, but holds inf"),
        ({"x": np.ones((3, 0, 5)), "y": np.ones((3, 0))}, "n must be .* at least 1, not 0"),
    ],
)
def test_arguments(changed, message):
    legal = {**CASE._asdict(), "rule": gradient_descent(0.1), "steps": 3}
    with pytest.raises(ValueError, match=message):
        descend(**{**legal, **changed})
