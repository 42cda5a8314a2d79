"""What changes between source and target: scenarios by name, each with the source it departs from."""

from surgicalft.shifts import cifar, glyphs  # noqa: F401  importing registers them
from surgicalft.shifts.base import (
    KINDS,
    TEST_RULES,
    Labelled,
    Scenario,
    Source,
    Splits,
    Target,
    get_scenario,
    load_source,
    scenario_names,
    split_target,
)

__all__ = [
    "KINDS",
    "TEST_RULES",
    "Labelled",
    "Scenario",
    "Source",
    "Splits",
    "Target",
    "get_scenario",
    "load_source",
    "scenario_names",
    "split_target",
]
