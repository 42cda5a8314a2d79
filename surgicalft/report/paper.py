"""The numbers in the tables of Lee et al., "Surgical Fine-Tuning Improves Adaptation to
Distribution Shifts" (ICLR 2023), and the settings that the paper states.

Figures are not here: the paper gives their values only where a table repeats them. Rows and columns
carry the paper's words, abbreviated; Tables 9 and 10 name their rows as Tables 2 and 3 do,
and their corruptions as the published data sets do.
"""

import re
from dataclasses import dataclass

RUNS = 3  # section 2.1: "standard error across three runs"


@dataclass(frozen=True)
class Published:
    """A number of the paper, mostly a percentage; `stderr` is None where the paper gives none."""

    value: float
    stderr: float | None
    source: str


@dataclass(frozen=True)
class Protocol:
    """What A.3 and A.4 state: None where they are silent; `unsure` names what is a guess."""

    n_tune: int | None
    epochs: int
    learning_rates: tuple[float, ...]
    last_layer_learning_rates: tuple[float, ...]
    weight_decay: float | None
    unsure: tuple[str, ...] = ()


_CIFAR = (1e-3, 1e-4, 1e-5)
_CIFAR_LAST = (1e-1, 1e-2, 1e-3)
_BREEDS = (5e-4, 1e-4, 1e-5)
_WATERBIRDS = (5e-3, 1e-3, 5e-4)
_CELEBA = (1e-3, 5e-4, 1e-4)
_WILDS = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7)  # eight values; the text lost them
_RATES = ("learning_rates", "last_layer_learning_rates")

PROTOCOLS = {
    "CIFAR-C": Protocol(1000, 15, _CIFAR, _CIFAR_LAST, 1e-4),
    "CIFAR-Flip": Protocol(None, 15, _CIFAR, _CIFAR_LAST, 1e-4),
    "ImageNet-C": Protocol(5000, 10, _CIFAR, _CIFAR, 1e-4),
    "Living-17": Protocol(850, 15, _BREEDS, _BREEDS, 0.0),
    "Entity-30": Protocol(1500, 15, _BREEDS, _BREEDS, 0.0),
    "Waterbirds": Protocol(400, 100, _WATERBIRDS, _WATERBIRDS, 1e-4),
    "CelebA": Protocol(400, 50, _CELEBA, _CELEBA, 1e-4),
    "Camelyon17": Protocol(100, 10, _WILDS, _WILDS, None, unsure=_RATES),
    "FMoW": Protocol(62, 10, _WILDS, _WILDS, None, unsure=_RATES),
}

# A.3. Contrast, defocus blur, fog, brightness and elastic transform are not among them.
CIFAR_C_CORRUPTIONS = (
    *("frost", "gaussian_blur", "gaussian_noise", "glass_blur", "impulse_noise"),
    *("jpeg_compression", "motion_blur", "pixelate", "saturate", "shot_noise"),
    *("snow", "spatter", "speckle_noise", "zoom_blur"),
)
IMAGENET_C_CORRUPTIONS = (
    *("brightness", "contrast", "defocus_blur", "elastic_transform", "fog"),
    *("frost", "gaussian_noise", "glass_blur", "impulse_noise", "jpeg_compression"),
    *("motion_blur", "pixelate", "shot_noise", "snow", "zoom_blur"),
)


@dataclass(frozen=True)
class Table:
    """One table of the paper; `cells` maps (row, column) to its number, or to None for a dash."""

    source: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], Published | None]


_TEXT = """
Table 1 (section 2.1: CLIP ViT-B/16, SGD): Camelyon17, FMoW
No fine-tuning: 86.2 35.5
All: 92.3(1.7) 38.9(0.5)
Embedding: 95.6(0.4) 36.0(0.1)
First three: 92.5(0.5) 39.8(1.0)
Last three: 87.5(4.1) 44.9(2.6)
Last layer: 90.1(1.5) 36.9(5.5)

Table 2 (section 2.2: MEMO on CIFAR-10-C, mean of the 10 corruptions of Table 9): Episodic, Online
No adaptation: 67.8 -
All: 71.7 69.7
Layer 1: 69.0 75.4
Layer 1-2: 69.0 75.5
Block 1-2: 69.0 75.3
Last: 67.9 67.8

Table 3 (section 2.2: MEMO on ImageNet-C, mean of the 14 corruptions of Table 10): Episodic, Online
No adaptation: 46.5 -
All: 47.8 1.8
Layer 1: 46.6 46.4
Block 1: 46.7 49.0
Last: 46.5 46.5

Table 4 (section 4.2: CIFAR-C and IN-C averaged over corruptions, standard errors too): \
CIFAR-C, IN-C, Living-17, Entity-30, CIFAR-F, Waterbirds, CelebA, Avg Rank
No Adaptation: 52.6(0) 18.2(0) 80.7(1.8) 58.6(1.1) 0(0) 31.7(0.3) 27.8(1.9) -
Cross-Val: 82.8(0.6) 51.6(0.1) 93.2(0.3) 81.2(0.6) 93.8(0.1) 89.9(1.2) 86.2(0.8) -
All: 79.9(0.7) 50.7(0.1) 92.8(0.7) 79.3(0.6) 85.9(0.4) 88.0(1.2) 82.2(1.3) 2.71
Gradual First-Last: 80.5(0.7) 50.7(0.1) 90.1(0.1) 69.9(3.0) 81.9(0.6) 87.5(0.2) 71.9(0.7) 4.71
Gradual Last-First: 78.8(0.8) 49.8(0.2) 90.6(0.2) 77.8(0.5) 84.3(0.9) 87.8(0.1) 78.5(2.9) 4.0
L1 Regularize: 81.7(0.6) 48.8(0.3) 93.4(0.5) 78.4(0.1) 84.2(1.2) 87.6(1.9) 82.6(1.8) 3.28
Auto-SNR: 80.9(0.7) 49.9(0.2) 93.5(0.2) 77.3(0.3) 17.3(0.7) 86.3(0.7) 78.5(1.8) 4.14
Auto-RGN: 81.4(0.6) 51.2(0.2) 93.5(0.3) 80.6(1.2) 87.7(2.8) 88.0(0.7) 82.2(2.7) 1.29

Table 5 (section 4.3: noise in one block of a ResNet-26): All, Auto-RGN
Block 1: 87.8(1.2) 92.0(0.4)
Block 2: 91.9(0.2) 92.7(0.4)
Block 3: 92.0(0.1) 92.5(0.4)
Last layer: 91.3(0.3) 92.8(0.3)

Table 6 (A.4: mean corruption error on ImageNet-C, lower is better): mCE
Vanilla ResNet-50: 76.7
Cross-Val: 61.7
All: 62.8
Gradual First-Last: 62.4
Gradual Last-First: 63.6
L1 Regularize: 64.7
Auto-SNR: 62.9
Auto-RGN: 61.9

Table 7 (A.4: CLIP ViT-B/16): First Layers, Block 1, Block 2, Block 3, Block 4, Last, All, No Tuning
Living-17: 74.6(1.9) 75.3(1.9) 81.6(1.2) 86.1(0.7) 82.9(1.5) 72.6(1.3) 77.3(0.4) 65.6(0)

Table 8 (A.5: CLIP ViT-B/16 and ViT-L/14): Camelyon17 B/16 SGD, Camelyon17 B/16 AdamW, \
FMoW B/16 SGD, FMoW B/16 AdamW, FMoW L/14 AdamW
No fine-tuning: 86.2 96.2 35.5 41.7 50.3
All: 92.3(1.7) 96.4(0.4) 38.9(0.5) 29.2(2.6) 52.9(1.2)
Embedding: 95.6(0.4) 96.9(0.1) 36.0(0.1) 41.8(0.1) 50.1(1.6)
First three: 92.5(0.5) 95.0(0.2) 39.8(1.0) 26.7(1.3) 51.6(0.9)
Last three: 87.5(4.1) 96.6(0.1) 44.9(2.6) 46.1(2.3) 52.4(0.6)
Last layer: 90.1(1.5) 96.7(0.1) 36.9(5.5) 42.6(0.1) 52.3(0.3)

Table 9 (A.6: MEMO on CIFAR-10-C, severity 5): gaussian_noise, impulse_noise, shot_noise, \
fog, frost, snow, elastic_transform, brightness, contrast, defocus_blur
No adaptation: 51.6 49.7 55.2 72.0 66.9 75.9 74.4 85.9 70.3 75.9
Episodic All: 56.31 56.39 59.94 77.42 71.93 78.63 78.99 88.15 72.66 76.32
Episodic Layer 1: 53.11 51.29 56.53 73.27 68.41 77.16 76.46 86.53 70.82 76.11
Episodic Layer 1-2: 53.20 51.21 56.58 73.48 68.64 77.06 76.41 86.47 70.67 76.15
Episodic Block 1-2: 53.20 51.36 56.63 73.37 68.61 77.22 76.45 86.56 70.73 76.09
Episodic Last: 51.69 49.82 55.24 72.01 67.05 75.91 74.56 85.98 70.28 75.98
Online All: 51.48 49.53 55.85 75.69 72.64 77.36 76.16 86.83 70.88 79.89
Online Layer 1: 68.14 59.21 71.10 79.61 76.20 79.29 76.86 86.72 74.26 82.18
Online Layer 1-2: 68.00 60.92 73.07 79.22 76.16 79.34 76.18 86.65 73.97 81.97
Online Block 1-2: 67.84 59.30 70.96 79.11 75.91 79.44 76.46 86.91 74.67 82.12
Online Last: 51.61 49.71 55.21 71.99 66.92 75.87 74.49 86.00 70.27 75.91

Table 10 (A.6: MEMO on ImageNet-C, severity 5): gaussian_noise, impulse_noise, shot_noise, \
fog, frost, snow, brightness, contrast, elastic_transform, glass_blur, motion_blur, \
zoom_blur, pixelate, jpeg_compression
No adaptation: 43.8 45.9 42.4 55.2 45.95 50.05 73.95 53.25 35.0 19.35 40.35 32.05 52.6 60.6
Episodic All: 45.35 47.4 44.6 55.35 47.05 50.25 74.35 54.85 36.25 20.55 41.4 33.95 55.55 61.7
Episodic Layer 1: 44.0 46.0 42.4 55.2 45.9 50.1 74.0 53.3 35.2 19.45 40.6 32.15 52.8 60.6
Episodic Block 1: 44.1 46.3 42.6 55.4 46.0 50.15 74.1 53.2 35.15 19.75 40.75 32.25 53.2 60.75
Episodic Last: 43.75 45.95 42.4 55.25 46.0 50.05 73.95 53.3 35.05 19.35 40.4 32.05 52.6 60.6
Online All: 1.05 0.9 1.4 0.35 3.4 1.6 0.8 0.8 2.75 1.05 2.5 2.25 2.7 3.4
Online Layer 1: 44.7 46.3 43.4 46.5 47.0 50.9 74.15 48.85 36.4 20.2 41.65 32.5 55.7 61.05
Online Block 1: 46.5 49.65 46.75 55.8 47.4 52.55 74.8 54.15 40.5 24.75 41.45 34.15 56.85 61.05
Online Last: 43.8 45.9 42.4 55.15 45.95 50.0 73.9 53.2 35.05 19.35 40.35 32.05 52.6 60.6
"""


def _read_table(text: str) -> tuple[int, Table]:
    """The lines `Table n (about): columns` and `row: 80.5(0.7) 50.7 -`, every column filled."""
    head, *lines = text.splitlines()
    match = re.fullmatch(r"Table (\d+) (\(.*?\)): (.*)", head)
    assert match is not None, head
    source, columns = f"Table {match[1]} {match[2]}", tuple(match[3].split(", "))
    cells = {
        (row, column): _read_cell(cell, source)
        for row, cells in (line.split(": ") for line in lines)
        for column, cell in zip(columns, cells.split(), strict=True)
    }
    return int(match[1]), Table(source, tuple(dict.fromkeys(r for r, _ in cells)), columns, cells)


def _read_cell(text: str, source: str) -> Published | None:
    if text == "-":
        return None
    value, _, stderr = text.rstrip(")").partition("(")
    return Published(float(value), float(stderr) if stderr else None, source)


TABLES = dict(_read_table(part) for part in _TEXT.strip().split("\n\n"))


def published(table: int, row: str, column: str) -> Published | None:
    """The number in that cell (names as in `TABLES[table]`, case ignored); None for a dash.

    Raises ValueError with the legal names where there is no such table, row or column.
    """
    if table not in TABLES:
        raise ValueError(f"table must be one of {list(TABLES)}, not {table!r}")
    it = TABLES[table]
    return it.cells[_match("row", row, it.rows), _match("column", column, it.columns)]


def _match(what: str, name: str, legal: tuple[str, ...]) -> str:
    for candidate in legal:
        if candidate.lower() == name.lower():
            return candidate
    raise ValueError(f"{what} must be one of {list(legal)}, not {name!r}")
