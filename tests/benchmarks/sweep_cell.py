"""The settings of one cell of the benchmarked sweep."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    selection: str
    learning_rate: float
