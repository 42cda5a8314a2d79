"""Criteria: exact values of small examples, scale laws, and what each does with degenerate tensors."""

import math

import pytest
import torch

from surgicalft.methods.criteria import (
    fisher,
    relative_gradient_norm,
    scaled,
    signal_to_noise,
    signal_to_noise_code,
)
from surgicalft.methods.per_input import Moments

EPS = torch.finfo(torch.float32).eps


def moments(gradients):
    """Of gradients (n, *shape), as two lines of PyTorch give them."""
    variance = gradients.var(0) if len(gradients) > 1 else torch.zeros_like(gradients[0])
    return Moments(gradients.mean(0), variance, len(gradients))


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestRelativeGradientNorm:
    def test_exact(self):
        gradients = {"w": torch.tensor([[3.0, 0.0], [0.0, 4.0]]), "b": torch.tensor([1.0])}
        parameters = {"w": torch.full((2, 2), 5.0), "b": torch.tensor([-4.0]), "c": torch.ones(1)}
        assert relative_gradient_norm(gradients, parameters) == {"w": 0.5, "b": 0.25}

    def test_zero_tensors(self):
        """No relative size: as much as the largest of the others, and 0 without a gradient."""
        gradients = {"w": torch.ones(4), "v": torch.ones(4), "new": torch.ones(4) * 1e9}
        parameters = {"w": torch.ones(4), "v": torch.ones(4) / 2, "new": torch.zeros(4)}
        gradients["dead"], parameters["dead"] = torch.zeros(4), torch.zeros(4)
        found = relative_gradient_norm(gradients, parameters)
        assert found == {"w": 1.0, "v": 2.0, "new": 2.0, "dead": 0.0}

    def test_only_zero_tensors(self):
        zeros = {"a": torch.zeros(2), "b": torch.zeros(2)}
        gradients = {"a": torch.ones(2), "b": torch.zeros(2)}
        assert relative_gradient_norm(gradients, zeros) == {"a": 1.0, "b": 0.0}

    def test_squares_neither_overflow_nor_vanish(self):
        gradients = {"a": torch.full((4,), 1e30), "b": torch.full((4,), 1e-30)}
        parameters = {"a": torch.full((4,), 1e28), "b": torch.full((4,), 1e-28)}
        found = relative_gradient_norm(gradients, parameters)
        assert found == pytest.approx({"a": 100.0, "b": 0.01})

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_not_finite(self, value):
        good, bad = torch.ones(2), torch.tensor([1.0, value])
        with pytest.raises(ValueError, match=r"gradients that are not finite: \['b'\]"):
            relative_gradient_norm({"a": good, "b": bad}, {"a": good, "b": good})
        with pytest.raises(ValueError, match=r"parameters that are not finite: \['b'\]"):
            relative_gradient_norm({"a": good, "b": good}, {"a": good, "b": bad})

    def test_missing_parameter(self):
        with pytest.raises(ValueError, match=r"no parameters given for the gradients of \['b'\]"):
            relative_gradient_norm({"b": torch.ones(1)}, {"a": torch.ones(1)})


class TestSignalToNoise:
    def test_exact(self):
        """Means 2 and 0, sample variances 2 and 8: (4 / 2 + 0) / 2."""
        gradients = torch.tensor([[1.0, -2.0], [3.0, 2.0]])
        assert signal_to_noise({"w": moments(gradients)}) == {"w": 1.0}

    def test_does_not_depend_on_the_unit(self):
        gradients = normal(6, 3, 2) + 1
        values = (signal_to_noise({"w": moments(unit * gradients)})["w"] for unit in (1, 1e-6, 1e6))
        assert next(values) == pytest.approx(next(values)) == pytest.approx(next(values))

    def test_tends_to_the_population_value(self):
        """N(m, s^2): E of (sample mean)^2 / (sample variance) is (m^2 + s^2 / n) (n - 1) / (n - 3) / s^2."""
        n, m, s = 50, 0.3, 2.0
        gradients = m + s * normal(n, 200_000)
        expected = (m**2 / s**2 + 1 / n) * (n - 1) / (n - 3)
        assert signal_to_noise({"w": moments(gradients)})["w"] == pytest.approx(expected, rel=0.02)

    def test_constant_gradient(self):
        """Bounded by machine precision, and finite among others."""
        found = signal_to_noise({"w": moments(torch.full((5, 3), 0.25))})
        assert found["w"] == pytest.approx(EPS**-2)
        assert scaled(found | {"v": 1.0})["v"] == pytest.approx(EPS**2)

    def test_dead_coordinates_count_zero(self):
        gradients = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
        assert signal_to_noise({"w": moments(gradients)}) == {"w": 1.0}
        assert signal_to_noise({"w": moments(torch.zeros(4, 3))}) == {"w": 0.0}

    def test_lost_squares_count_zero(self):
        """Squares of 1e-30 are zero in float32: the variance is lost, not small."""
        lost = moments(1e-30 * (normal(4, 3).float() + 1))
        assert lost.mean.any() and not lost.variance.any()
        assert signal_to_noise({"w": lost}) == {"w": 0.0}

    def test_batch_of_one(self):
        with pytest.raises(ValueError, match=r"takes two of them or more, not 1 \(w\)"):
            signal_to_noise({"w": moments(torch.ones(1, 3))})

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_not_finite(self, value):
        bad = Moments(torch.tensor([1.0, value]), torch.ones(2), 4)
        with pytest.raises(ValueError, match=r"moments that are not finite: \['w'\]"):
            signal_to_noise({"w": bad})
        with pytest.raises(ValueError, match=r"moments that are not finite: \['w'\]"):
            fisher({"w": bad})


class TestSignalToNoiseOfTheAuthorsCode:
    def test_exact(self):
        """Channels (1, 3): variance 2 with ddof 1; (1 / 2 + 9 / 2) / 2, and the same for each further axis."""
        gradient = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
        assert signal_to_noise_code({"w": gradient})["w"] == pytest.approx(2.5)

    def test_matrix(self):
        g = normal(8, 3, 2, 2)
        expected = torch.stack([c.square() / (c.var() + 1e-8) for c in g.flatten(1).T]).mean()
        assert signal_to_noise_code({"w": g})["w"] == pytest.approx(expected.item())

    @pytest.mark.parametrize("shape", [(12,), (1, 12), (1, 3, 4)])
    def test_one_axis_or_one_channel(self, shape):
        """The variance over all coordinates, where that over channels does not exist."""
        g = normal(12)
        expected = (g.square() / (g.var() + 1e-8)).mean().item()
        assert signal_to_noise_code({"b": g.view(shape)})["b"] == pytest.approx(expected)

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
    def test_single_number(self, shape):
        found = signal_to_noise_code({"b": torch.full(shape, 1e-3)})
        assert found["b"] == pytest.approx(1e-6 / 1e-8)

    def test_equal_channels(self):
        assert signal_to_noise_code({"w": torch.ones(3, 2)})["w"] == pytest.approx(1e8)
        assert signal_to_noise_code({"w": torch.zeros(3, 2)}) == {"w": 0.0}

    def test_not_finite(self):
        with pytest.raises(ValueError, match=r"gradients that are not finite: \['w'\]"):
            signal_to_noise_code({"w": torch.tensor([1.0, math.nan])})


class TestFisher:
    @pytest.mark.parametrize("n", [1, 2, 7])
    def test_is_the_mean_square(self, n):
        gradients = normal(n, 4, 3)
        found = fisher({"w": moments(gradients)})["w"]
        assert found == pytest.approx(gradients.square().mean().item())


class TestScaled:
    def test_by_the_largest(self):
        assert scaled({"a": 1.0, "b": 4.0, "c": 0.0}) == {"a": 0.25, "b": 1.0, "c": 0.0}

    def test_all_zero(self):
        assert scaled({"a": 0.0, "b": 0.0}) == {"a": 1.0, "b": 1.0}

    def test_nothing(self):
        assert scaled({}) == {}

    @pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
    def test_values_out_of_range(self, value):
        with pytest.raises(ValueError, match=rf"finite and >= 0, not {{'b': {value}}}"):
            scaled({"a": 1.0, "b": value})
