"""The embedded data set: ten letters as 32x32 RGB images, made on the spot, with every kind of shift.

A stand-in that needs no download, not evidence for the paper. Sources: `glyphs` (upper case, random
backgrounds) and `glyphs-biased` (the background tells the class's parity in 95 % of the images). Scenarios:
    glyphs-c/<corruption>[/severity]  input    corrupted by `surgicalft.shifts.corruptions`
    glyphs-case                       feature  lower case
    glyphs-flip                       output   y -> 9 - y
    glyphs-background                 output   from `glyphs-biased`; the background is independent of the class
    glyphs-ink                        natural  paper, ink and stroke weight as from another scanner
Image i of a split has label i mod 10 and is the same however many are drawn.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from surgicalft.shifts.base import (
    Labelled,
    Scenario,
    Source,
    Target,
    register_scenario,
    register_source,
)
from surgicalft.shifts.corruptions import CORRUPTIONS, corrupt, parse_severity
from surgicalft.shifts.glyph_drawing import TEXTURES, Style, draw
from surgicalft.shifts.image_files import as_tensor
from surgicalft.shifts.labels import flip_labels

LETTERS = "ABDEGHNQRT"  # of which upper and lower case differ in shape
CLASSES = len(LETTERS)
SIZES = {"train": 6000, "valid": 1000, "test": 2000}
POOL = 3000  # target images
CORRUPTION_SEED = 0

PLAIN = Style()
BUSY = replace(PLAIN, amplitude=(0.05, 0.1))
SCANNER = replace(
    PLAIN,
    paper=((0.25, 0.5), (0.1, 0.3), (0.3, 0.6)),
    contrast=((0.05, 0.2),) * 3,
    weight=(0.6, 1.2),
)

BACKGROUNDS = (TEXTURES.index("stripes"), TEXTURES.index("checks"))
MINORITY = 20  # one image in twenty of the biased source has the other parity's background


@lru_cache(maxsize=8)
def glyphs(stream: str, n: int, style: Style = PLAIN, lower: bool = False) -> Labelled:
    """The first n images of a stream, which names the random numbers; labels 0 to 9 in turn."""
    labels = torch.arange(n) % CLASSES
    return Labelled(draw(_letters(labels, lower), style, stream), labels)


@lru_cache(maxsize=8)
def glyphs_on_backgrounds(stream: str, n: int, biased: bool) -> Labelled:
    """As `glyphs`, on stripes or checks; group = 10 * background + class, background 0 or 1.

    biased: within each class every twentieth image has the background that is not its class's parity;
    otherwise every second one. Letters that look alike differ in parity (B and D, E and G, H and N, Q and R),
    so that the background is worth learning. The groups follow Waterbirds: class and background.
    """
    labels = torch.arange(n) % CLASSES
    turn = torch.arange(n) // CLASSES
    other = turn % (MINORITY if biased else 2) == 0
    background = (labels % 2 + other) % 2
    images = draw(_letters(labels), BUSY, stream, torch.tensor(BACKGROUNDS)[background])
    return Labelled(images, labels, CLASSES * background + labels)


def _letters(labels: Tensor, lower: bool = False) -> str:
    letters = LETTERS.lower() if lower else LETTERS
    return "".join(letters[label] for label in labels.tolist())


def _source(make: Callable[[str, int], Labelled], data_dir: Path | None) -> Source:
    parts = {part: make(part, n) for part, n in SIZES.items()}
    return Source(**parts, classes=CLASSES, provenance="embedded")


def _scenario(name: str, kind: str, make: Callable[[], Labelled], source: str) -> Scenario:
    return Scenario(name, kind, source, lambda data_dir: Target(make(), CLASSES, "embedded"))


def _corrupted(corruption: str, *severities: str) -> Scenario:
    severity = parse_severity(*severities)
    make = partial(_corrupt, corruption, severity, POOL)
    return _scenario(f"glyphs-c/{corruption}/{severity}", "input", make, "glyphs")


@lru_cache(maxsize=8)
def _corrupt(corruption: str, severity: int, n: int) -> Labelled:
    pool = glyphs("target", n)
    return replace(
        pool, images=corrupt(as_tensor(pool.images), corruption, severity, CORRUPTION_SEED)
    )


def _case() -> Labelled:
    return glyphs("target", POOL, lower=True)


def _flip() -> Labelled:
    pool = glyphs("target", POOL)
    return replace(pool, labels=flip_labels(pool.labels, CLASSES))


def _background() -> Labelled:
    return glyphs_on_backgrounds("target", POOL, biased=False)


def _ink() -> Labelled:
    return glyphs("target", POOL, SCANNER)


register_source("glyphs", partial(_source, glyphs))
register_source("glyphs-biased", partial(_source, partial(glyphs_on_backgrounds, biased=True)))
register_scenario("glyphs-c", _corrupted, CORRUPTIONS)
for _name, _kind, _make, _from in (
    ("glyphs-case", "feature", _case, "glyphs"),
    ("glyphs-flip", "output", _flip, "glyphs"),
    ("glyphs-background", "output", _background, "glyphs-biased"),
    ("glyphs-ink", "natural", _ink, "glyphs"),
):
    register_scenario(_name, partial(_scenario, _name, _kind, _make, _from))
