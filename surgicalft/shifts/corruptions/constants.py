"""The published constants of CIFAR-10-C and ImageNet-C: one entry per severity 1 to 5.

`CONSTANTS` are for images of 32 pixels, `IMAGENET_CONSTANTS` for images of 224. Only frost's magnification is
not published: see `ice`.
Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (2019), `make_cifar_c.py` and `make_imagenet_c.py` of the authors' repository
(github.com/hendrycks/robustness, ImageNet-C/create_c).
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
    # the zoom factors are arange(1, stop, step)
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    # flakes: mean, deviation, zoom, threshold; streaks: radius, sigma; weight of the image
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    # weight of the image, weight of the ice, magnification of the drawn ice
    "frost": ((1, 0.2, 1), (1, 0.3, 1), (0.9, 0.4, 1), (0.85, 0.4, 1), (0.75, 0.45, 1)),
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

# `make_imagenet_c.py` writes elastic's numbers in pixels, as shares of 244 where the side is 224.
_SIDE = 244 / 224

IMAGENET_CONSTANTS: dict[str, Levels] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    # the photographs of ice are shrunk to a fifth for CIFAR-10-C, and not for ImageNet-C
    "frost": ((1, 0.4, 5), (0.8, 0.6, 5), (0.7, 0.7, 5), (0.65, 0.7, 5), (0.6, 0.75, 5)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "elastic_transform": (
        (2 * _SIDE, 0.7 * _SIDE, 0.1 * _SIDE),
        (2 * _SIDE, 0.08 * _SIDE, 0.2 * _SIDE),
        (0.05 * _SIDE, 0.01 * _SIDE, 0.02 * _SIDE),
        (0.07 * _SIDE, 0.01 * _SIDE, 0.02 * _SIDE),
        (0.12 * _SIDE, 0.01 * _SIDE, 0.02 * _SIDE),
    ),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": (25, 18, 15, 10, 7),
    "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
    "gaussian_blur": (1, 2, 3, 4, 6),
    "spatter": (
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
    ),
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}

CONSTANT_SETS = {"cifar": CONSTANTS, "imagenet": IMAGENET_CONSTANTS}
