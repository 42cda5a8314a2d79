"""What changes between source and target: scenarios by name, each with the source it departs from."""

from surgicalft.shifts import (  # noqa: F401  importing registers them
    breeds,
    cifar,
    clean,
    glyphs,
    imagenet,
    imagenet_c,
    spurious,
    wilds,
)
from surgicalft.shifts.base import (
    KINDS,
    TEST_RULES,
    Labelled,
    Scenario,
    Source,
    Splits,
    Target,
    families,
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
    "families",
    "get_scenario",
    "load_source",
    "scenario_names",
    "split_target",
]
