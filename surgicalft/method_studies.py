"""Studies of methods: Tables 4 and 6, and what goes beyond them. A row of such a table is an `Entry`.

An entry says which runs validation chooses among. Cross-Val is none of its own: it chooses among the surgical runs on
single blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from surgicalft.profiles import Profile, get_profile
from surgicalft.runs import Run
from surgicalft.searches import SEARCHES
from surgicalft.settings import check_choice
from surgicalft.studies import Study


@dataclass(frozen=True)
class Entry:
    """A method, what it may tune, and its strengths; each at every learning rate."""

    method: str
    selection: str = "all"
    variant: str = ""
    strengths: tuple[float | None, ...] = (None,)


PAPER = (  # the rows of Table 4, but for surgical fine-tuning itself
    Entry("gradual-first-last"),
    Entry("gradual-last-first"),
    Entry("l1-sp", strengths=(1e-3, 1e-4)),
    Entry("auto-snr", strengths=(0.1, 0.3)),
    Entry("auto-rgn"),
)
MORE = (  # what a user of timm would compare with, the authors' own code, and criteria beyond the paper
    Entry("surgical", "norms"),
    Entry("surgical", "biases"),
    Entry("lp-ft"),
    Entry("auto-rgn", variant="code"),
    Entry("auto-snr", variant="code"),
    Entry("auto-rgn", variant="after-head"),
    Entry("auto-fisher"),
)
HALVING, GREEDY = Entry("halving"), Entry("greedy")
ENTRIES = {
    "paper": PAPER,
    "main": (*PAPER, HALVING),
    "all": (*PAPER, *MORE, HALVING, GREEDY),  # greedy costs more than all others together
}


@dataclass(frozen=True)
class MethodStudy:
    """On which scenarios methods are compared, from which source model, with how many images.

    `design` names the scenarios on which what is ours was thought out; the others are held out.
    """

    profile: Profile
    scenarios: tuple[str, ...]
    design: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1)

    def runs(self, entries: str = "paper", seeds: Sequence[int] = (), model: str = "") -> list[Run]:
        """Of all scenarios and seeds: surgical runs, then those of the entries; ValueError for unknown entries."""
        check_choice("entries", entries, list(ENTRIES))
        found: list[Run] = []
        for seed in seeds or self.seeds:
            for scenario in self.scenarios:
                study = self._study(scenario, model)
                found += study.runs((seed,))
                for entry in ENTRIES[entries]:
                    found += _entry_runs(study, entry, seed)
        return found

    def _study(self, scenario: str, model: str) -> Study:
        study = self.profile.study(scenario)
        if not model or model == study.base.model:
            return study
        return replace(study, base=replace(study.base, model=model, pretrain=None))


def _entry_runs(study: Study, entry: Entry, seed: int) -> Iterator[Run]:
    what: dict[str, Any] = {"selection": entry.selection, "method": entry.method, "seed": seed}
    if entry.method in SEARCHES:
        rates, last_rates = study.learning_rates, study.last_learning_rates
        yield replace(study.base, **what, rates=rates, last_rates=last_rates)
        return
    for strength in entry.strengths:
        for rate in study.learning_rates:
            base = replace(study.base, **what, variant=entry.variant, strength=strength)
            yield replace(base, learning_rate=rate)


_EMBEDDED = get_profile("embedded")
# A fifth of the paper's images, where methods differ most, its own test split of 900, and two of its three rates:
# validation chose the third, 1e-5, for no selection that it chose at all.
_CIFAR = replace(
    get_profile("cifar"),
    n_tune=200,
    test="authors",
    learning_rates=(1e-3, 1e-4),
    last_learning_rates=(1e-1, 1e-2),
)

METHOD_STUDIES = {
    "embedded": MethodStudy(
        _EMBEDDED,
        ("glyphs-c/spatter", "glyphs-case", "glyphs-flip"),
        design=("glyphs-c/spatter", "glyphs-flip"),
    ),
    "cifar": MethodStudy(_CIFAR, get_profile("cifar").scenarios),
    "paper": MethodStudy(
        get_profile("paper"),
        (
            *get_profile("paper").scenarios,
            *("living-17", "entity-30", "waterbirds", "celeba"),
        ),
        seeds=(0, 1, 2),
    ),
}


def get_method_study(profile: str) -> MethodStudy:
    """The study of that profile; ValueError with the legal names where there is none."""
    check_choice("profile", profile, list(METHOD_STUDIES))
    return METHOD_STUDIES[profile]
