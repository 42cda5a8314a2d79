"""What figures/ holds for an item of the paper, and what follows from it."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from surgicalft.report.markdown import uncertain
from surgicalft.site.items import Item
from surgicalft.site.status import agreement, beside

PROFILES = ("paper", "cifar", "embedded")  # evidence first
NOT_RUN = "not run here"
FEW = 6  # numbers of an item that the index shows


@dataclass(frozen=True)
class Pair:
    """A number of ours beside the paper's, each with its standard error where there is one."""

    name: str
    ours: str
    paper: str


@dataclass(frozen=True)
class Variant:
    """The tables and figures of one profile and tag, as paths without suffix, and what the tables say of themselves."""

    name: str
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    about: dict[str, Any]
    pairs: tuple[Pair, ...]  # means over scenarios first
    compared: str  # what these say together, or ""

    @property
    def kind(self) -> str:
        """Whether this is evidence."""
        evidence = self.about.get("evidence")
        if evidence is None:
            return "exact theory and simulation"
        return "real images: evidence" if evidence else "embedded data: a demonstration"

    @property
    def date(self) -> str:
        """When the newest of its runs was made, or the newest of its files written."""
        created = self.about.get("created")
        dates = created if isinstance(created, list) else [created] if created else []
        return max(dates)[:10] if dates else ""


@dataclass(frozen=True)
class Found:
    """What there is for an item."""

    item: Item
    variants: tuple[Variant, ...]

    @property
    def kind(self) -> str:
        """Of its best variant."""
        return self.variants[0].kind if self.variants else NOT_RUN

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The first few of the best variant that has any."""
        pairs = next((variant.pairs for variant in self.variants if variant.pairs), ())
        return pairs if len(pairs) <= FEW else pairs[: FEW - 2]

    @property
    def date(self) -> str:
        """Of its newest variant."""
        return max((variant.date for variant in self.variants), default="")

    @property
    def status(self) -> list[str]:
        """Sentences: what was compared with the paper's numbers, or why nothing was."""
        if not self.variants:
            return [self.item.missing or NOT_RUN]
        compared = [f"{v.name}: {v.compared}" for v in self.variants if v.compared]
        return compared or [self._uncompared()]

    def _uncompared(self) -> str:
        if self.variants[0].about.get("evidence") is None:
            return "its notebook ends by asserting the claim"
        if self.item.compared is None:
            return "the paper prints no numbers with it"
        return "no number of ours is comparable with the paper's"


def find(item: Item, figures: Path) -> Found:
    """The item's variants whose main table or figures are there, evidence first."""
    return Found(item, tuple(_variants(item, figures / item.notebook)) if item.notebook else ())


def _variants(item: Item, folder: Path) -> Iterator[Variant]:
    for profile in PROFILES:
        for tag in item.tags:
            tables = _there(folder, profile, tag, item.tables, ".md")
            shown = _there(folder, profile, tag, item.figures, ".png")
            if tables or shown:
                name = "-".join(filter(None, (profile, tag)))
                yield Variant(
                    name, tables, shown, _about(tables), *_compared(item, folder, profile, tag)
                )


def _there(
    folder: Path, profile: str, tag: str, parts: tuple[str, ...], suffix: str
) -> tuple[Path, ...]:
    stems = [folder / "-".join(filter(None, (profile, tag, part))) for part in parts]
    return tuple(stem for stem in stems if _file(stem, suffix).is_file())


def _file(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _about(tables: tuple[Path, ...]) -> dict[str, Any]:
    """The company of the first table that has any: profile, rule, seeds, device, versions, dates."""
    for stem in tables:
        if _file(stem, ".json").is_file():
            return dict(json.loads(_file(stem, ".json").read_text(encoding="utf-8")))
    return {}


def _compared(item: Item, folder: Path, profile: str, tag: str) -> tuple[tuple[Pair, ...], str]:
    """What the table that is compared has beside the paper's numbers, and what follows."""
    parts = () if item.compared is None else (item.compared,)
    for stem in _there(folder, profile, tag, parts, ".csv"):
        rows = beside(pd.read_csv(_file(stem, ".csv")), item.source, item.means)
        if found := agreement(rows):
            return tuple(_pair(**row) for row in rows.to_dict("records")), found.sentence
    return (), ""


def _pair(name: str, ours: float, error: float, paper: float, paper_error: float) -> Pair:
    return Pair(name, _number(ours, error), _number(paper, paper_error))


def _number(value: float, error: float) -> str:
    return f"{value:.1f}" if math.isnan(error) else uncertain(value, error)
