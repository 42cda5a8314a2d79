"""Theorem 1: settings, trials, shares."""

import numpy as np
import pytest
from scipy.stats import binom

from theory.exact import first_layer_limit
from theory.flow import flow
from theory.networks import linear_loss
from theory.theorem1 import (
    Setting,
    bound_on_n,
    draw,
    exact_n,
    find_setting,
    outcome,
    row,
    run,
    share,
    target_path,
)


@pytest.mark.parametrize(
    ("d_orth", "delta", "exact", "bound"),
    [(1, 0.1, 4, 30), (5, 0.05, 16, 185), (10, 0.05, 28, 369)],
)
def test_how_many_examples(d_orth, delta, exact, bound):
    assert exact_n(d_orth, delta) == exact
    assert bound_on_n(d_orth, delta) == bound


@pytest.mark.parametrize("delta", [0.9, 0.5, 0.1, 0.01, 1e-6])
@pytest.mark.parametrize("d_orth", [1, 2, 7])
def test_exact_n_is_the_least_that_suffices(d_orth, delta):
    n = exact_n(d_orth, delta)
    assert binom.sf(d_orth - 1, n, 0.5) >= 1 - delta
    assert n == d_orth or binom.sf(d_orth - 1, n - 1, 0.5) < 1 - delta
    assert n <= bound_on_n(d_orth, delta)


@pytest.mark.parametrize("delta", [0.3, 0.05])
def test_equation_2_holds_as_often_as_the_binomial_says(delta):
    """First-layer tuning succeeds exactly where the data span what is new; full tuning never does."""
    setting = find_setting(delta, d_orth=2)
    drawn = draw(setting, 3000, np.random.default_rng(0))
    result = outcome(drawn)
    spanned = drawn.is_orth.sum(1) >= setting.d_orth
    assert (result.holds == spanned).all()
    assert share(result.holds).high >= 1 - delta
    assert share(result.holds).low <= binom.sf(1, setting.n, 0.5) <= share(result.holds).high


def test_first_layer_fails_without_enough_orthogonal_examples():
    drawn = draw(Setting(n=4, d_src=6, d_orth=3), 200, np.random.default_rng(0))
    short = drawn.is_orth.sum(1) < 3
    assert short.any() and (outcome(drawn).first[short] > 1e-6).all()


def test_limits_are_those_of_the_flow():
    drawn = draw(Setting(n=7, d_src=8, d_orth=2), 24, np.random.default_rng(0))
    result = outcome(drawn)
    for tune, losses in (("first", result.first), ("all", result.full)):
        end = flow(drawn.pre, drawn.x, drawn.y, tune)
        assert (end.status == "converged").all()
        np.testing.assert_allclose(drawn.target_loss(end.net), losses, rtol=1e-6, atol=1e-15)


def test_target_path_starts_at_the_pretrained_network_and_ends_at_the_limit():
    drawn = draw(Setting(n=7, d_src=8, d_orth=2), 4, np.random.default_rng(0))
    path = target_path(drawn, np.array([0.0, 1e3]))
    np.testing.assert_allclose(path[:, 0], drawn.target_loss(drawn.pre))
    np.testing.assert_allclose(path[:, 1], outcome(drawn).full, rtol=1e-6)


def test_uniform_inputs_do_as_well():
    result = run(Setting(n=18, d_src=20, d_orth=2, density="uniform"), 300)
    assert result.holds.all()


def test_wide_inputs_outside_both_subspaces_change_nothing():
    drawn = draw(Setting(n=5, d_src=4, d_orth=1, d=9), 10, np.random.default_rng(0))
    end = first_layer_limit(drawn.pre, drawn.x, drawn.y)
    inside = np.concatenate([drawn.shift.S_src, drawn.shift.S_orth], 1)
    outside = np.eye(9) - inside @ inside.T
    np.testing.assert_allclose(end.B @ outside, drawn.init.B @ outside, atol=1e-12)


def test_loss_is_relative_to_the_labels():
    drawn = draw(Setting(n=3, d_src=4, d_orth=2), 6, np.random.default_rng(0))
    zero = drawn.pre._replace(v=0 * drawn.pre.v)
    np.testing.assert_allclose(drawn.target_loss(zero), 1)
    some = drawn.take(np.array([1, 4]))
    direct = linear_loss(some.pre, some.w, some.shift.Sigma_trg) / some.scale
    np.testing.assert_allclose(drawn.target_loss(drawn.pre)[[1, 4]], direct)


def test_seed_0_is_a_seed_like_any_other():
    setting = Setting(n=5, d_src=6, d_orth=1)
    np.testing.assert_array_equal(run(setting, 20, 0).full, run(setting, 20, 0).full)
    assert (run(setting, 20, 0).full != run(setting, 20, 1).full).all()


def test_interval_of_a_share():
    held = share(np.arange(100) < 100)
    assert (held.held, held.trials, held.high) == (100, 100, 1.0)
    assert held.low == pytest.approx(0.025 ** (1 / 100))  # Clopper and Pearson in closed form
    assert share(np.zeros(50, dtype=bool)).high == pytest.approx(1 - 0.025 ** (1 / 50))


def test_row_states_setting_and_interval():
    line = row(0.1, 1, trials=500)
    assert line["n exact"] == 4 and line["n of Lemma 1"] == 30 and line["d_src"] == 5
    assert line["low"] < line["held"] < line["high"]


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_delta_outside_its_range(delta):
    with pytest.raises(ValueError, match=rf"delta must lie strictly between 0 and 1, not {delta}"):
        find_setting(delta)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n": 0}, "n must be an integer of at least 1, not 0"),
        ({"d_src": 0}, "d_src must be"),
        ({"d_orth": 1.5}, "d_orth must be an integer of at least 1, not 1.5"),
        ({"d": 3}, "d must be an integer of at least 5, not 3"),
        ({"sigma_v": 0.0}, "sigma_v must lie strictly between"),
        ({"sigma_B": -1.0}, "sigma_B must lie"),
    ],
)
def test_settings_that_do_not_exist(changed, message):
    with pytest.raises(ValueError, match=message):
        Setting(**{"n": 3, "d_src": 4, "d_orth": 1, **changed})


def test_density_and_trials_are_checked():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"density must be one of .*'normal'"):
        draw(Setting(n=3, d_src=4, d_orth=1, density="normal"), 2, rng)
    with pytest.raises(ValueError, match="trials must be an integer of at least 1, not 0"):
        draw(Setting(n=3, d_src=4, d_orth=1), 0, rng)
