"""Rows and columns of Tables 2, 3, 9 and 10: which runs belong to a row, what it is called, and the paper's value.

The paper names what is tuned differently for its two networks: of a ResNet "Block 1-2" is the first convolution and
the first block, which together are our block 1; of a transformer "Block 1" is the first block. A value of the paper
stands beside MEMO alone, on the network it is of (ResNet-26, RVT), at severity 5.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from surgicalft.report.paper import TABLES, Published

NO_MODE, NO_ADAPTATION = "-", "No adaptation"
_MODES = (NO_MODE, "episodic", "online")
_METHOD = "memo"  # the paper's
_NAMES = {
    "none": NO_ADAPTATION,
    "all": "All",
    "first_layer": "Layer 1",
    "first_2_layers": "Layer 1-2",
    "block 1": "Block 1-2",
    "last": "Last",
}
_TRANSFORMERS = {"block 1": "Block 1"}


@dataclass(frozen=True)
class Row:
    """Runs that a row of the table is of; no adaptation has no mode."""

    mode: str
    method: str
    selection: str
    reset: bool = False  # whether a collapsed network is set back

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Row":
        """The row that a run of these settings belongs to."""
        if settings["selection"] == "none":
            return UNCHANGED
        names = (settings["mode"], settings["method"], settings["selection"])
        return cls(*names, reset=bool(settings.get("reset", False)))

    def label(self, model: str) -> str:
        """What is tuned, in the paper's words: `Layer 1`; of other methods than MEMO `TENT (norms)`."""
        names = _NAMES | _TRANSFORMERS if re.search("rvt|vit", model) else _NAMES
        tuned = names.get(self.selection, self.selection)
        if self.method != _METHOD:
            tuned = f"{self.method.upper()} ({self.selection})"
        return tuned + ", reset" * self.reset

    def name(self, model: str) -> str:
        """The row's name, as in Table 9: `Episodic Layer 1`."""
        return " ".join(part for part in (self.mode.title(), self.label(model)) if part != NO_MODE)

    def full(self) -> "Row":
        """All parameters, tuned by MEMO in the same mode."""
        return Row(self.mode, _METHOD, "all")

    def key(self) -> tuple[Any, ...]:
        """Sorts as Table 9 does; what is not in it comes after, by name."""
        known = [*_NAMES]
        place = known.index(self.selection) if self.selection in known else len(known)
        other = (self.method != _METHOD, self.method)
        return _MODES.index(self.mode), *other, place, self.selection, self.reset


UNCHANGED = Row(NO_MODE, _METHOD, "none")


@dataclass(frozen=True)
class _Printed:
    """A table of the paper: scenarios, networks and number of images that it is of."""

    number: int
    families: str
    models: str
    images: int


_PRINTED = (
    _Printed(9, r"cifar10[\w-]*-c(-generated)?", ".*resnet26.*", 9000),
    _Printed(10, r"imagenet-c(-generated)?", "rvt.*", 2000),
)


def paper(row: Row, model: str, scenario: str) -> Published | None:
    """The paper's accuracy; of `family/*` there is none, which is the mean over the corruptions there are."""
    printed, (_, corruption, severity) = _printed(scenario), _parts(scenario)
    if printed is None or severity not in ("", "5") or not re.fullmatch(printed.models, model):
        return None
    if row.method != _METHOD or row.reset:
        return None
    return TABLES[printed.number].cells.get((row.name(model), corruption))


def paper_gain(row: Row, model: str, scenario: str) -> float:
    """The paper's accuracy minus its accuracy without adaptation, in points; NaN where it has none."""
    own, none = (paper(it, model, scenario) for it in (row, UNCHANGED))
    return round(own.value - none.value, 2) if own and none and row != UNCHANGED else math.nan


def paper_images(scenario: str) -> int:
    """How many images the paper's stream has: 9,000 of CIFAR-10-C, 2,000 of ImageNet-C; 0 of other data."""
    printed = _printed(scenario)
    return printed.images if printed else 0


def stream(images: int, scenario: str) -> str:
    """How long a stream is, and where it is shorter than the paper's that too: `500 of 9,000`."""
    most = paper_images(scenario)
    return f"{images:,} of {most:,}" if images < most else f"{images:,}"


def family(scenario: str) -> str | None:
    """`cifar10-c/fog/3` -> `cifar10-c/*/3`; None of a scenario without a family."""
    name, *rest = scenario.split("/")
    return "/".join([name, "*", *rest[1:]]) if rest else None


def in_order(scenarios: Iterable[str]) -> list[str]:
    """Scenarios by family as they come, within it in the paper's order, others after, the mean last."""
    names = list(dict.fromkeys(scenarios))
    families = list(dict.fromkeys(family(name) or name for name in names))

    def key(name: str) -> tuple[Any, ...]:
        printed, corruption = _printed(name), _parts(name)[1]
        known = TABLES[printed.number if printed else 9].columns
        place = known.index(corruption) if corruption in known else len(known)
        return families.index(family(name) or name), corruption == "*", place, name

    return sorted(names, key=key)


def title(scenario: str) -> str:
    """`cifar10-c/fog` -> `fog`, `cifar10-c/*` -> `mean`."""
    _, corruption, severity = _parts(scenario)
    words = "mean" if corruption == "*" else corruption.replace("_", " ")
    return " ".join(filter(None, (words or scenario, severity)))


def _printed(scenario: str) -> _Printed | None:
    found = (p for p in _PRINTED if re.fullmatch(p.families, _parts(scenario)[0]))
    return next(found, None) if "/" in scenario else None


def _parts(scenario: str) -> tuple[str, str, str]:
    name, corruption, severity, *_ = [*scenario.split("/"), "", ""]
    return name, corruption, severity
