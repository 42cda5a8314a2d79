"""The published constants of CIFAR-10-C: one entry per severity 1 to 5, for images of 32 pixels.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (2019), `make_cifar_c.py` of the authors' repository. ImageNet-C's differ.
"""

from typing import Any

SEVERITIES = (1, 2, 3, 4, 5)

Levels = tuple[Any, Any, Any, Any, Any]

# In the published order: the fifteen of the benchmark, then the four held out for validation.
CONSTANTS: dict[str, Levels] = {
    # standard deviation
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    # photons at full intensity
    "shot_noise": (500, 250, 100, 75, 50),
    # share of the values replaced
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    # disk radius, smoothing of the disk (pixels)
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    # blur sigma, largest displacement (pixels), passes
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    # radius, sigma (pixels)
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    # the zoom factors are arange(1, stop, 0.01)
    "zoom_blur": (1.06, 1.11, 1.16, 1.21, 1.26),
    # flakes: mean, deviation, zoom, threshold; streaks: radius, sigma; weight of the image
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    # weight of the image, weight of the ice
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    # thickness, decay of the height map
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    # added to the value of HSV
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    # factor on the distance from the mean
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    # displacement, its smoothing, shift of the corners, as shares of the image's side
    "elastic_transform": (
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ),
    # share of the side that is kept
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    # quality
    "jpeg_compression": (80, 65, 58, 50, 40),
    # standard deviation, as a share of the value
    "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
    # sigma (pixels)
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
    # liquid: mean, deviation, smoothing, threshold; strength of water or smoothing of mud; is mud
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, False),
        (0.65, 0.1, 0.8, 0.7, 0.5, False),
        (0.65, 0.3, 1, 0.69, 0.5, False),
        (0.65, 0.1, 0.7, 0.69, 0.6, True),
        (0.65, 0.1, 0.5, 0.68, 0.6, True),
    ),
    # factor and addend on the saturation of HSV
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}

CORRUPTIONS: tuple[str, ...] = tuple(CONSTANTS)
