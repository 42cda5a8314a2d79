"""The paper's number is found for the runs that it belongs to, and for no others."""

import pytest

from surgicalft.protocols import STUDIES, breeds, natural
from surgicalft.report.beside import beside
from surgicalft.report.paper import TABLES, Published


def settings(scenario: str, selection: str, **more: object) -> dict[str, object]:
    base = {"scenario": scenario, "selection": selection, "model": "resnet26-bn", "n_tune": 1000}
    return base | more


@pytest.mark.parametrize(
    ("scenario", "selection", "expected"),
    [
        ("cifar10-c/*", "block 1", (82.8, 0.6)),
        ("cifar10-jpeg-c/*", "all", (79.9, 0.7)),
        ("cifar10-c/*/5", "none", (52.6, 0.0)),
        ("cifar10-flip", "last", (93.8, 0.1)),
        ("cifar10-flip", "all", (85.9, 0.4)),
        ("cifar10-flip", "none", (0.0, 0.0)),
        ("cifar10-c/*", "block 2", None),  # a bar of Figure 2 without a number
        ("cifar10-flip", "block 1", None),
        ("cifar10-c/fog", "all", None),  # one corruption is not their mean
        ("cifar10-c/*/3", "all", None),  # the paper has severity 5 only
        ("glyphs-c/*", "block 1", None),
    ],
)
def test_bars_of_figure_2(
    scenario: str, selection: str, expected: tuple[float, float] | None
) -> None:
    found = beside(settings(scenario, selection))
    assert (None if found is None else (found.value, found.stderr)) == expected


def test_the_paper_s_bars_are_for_1000_images() -> None:
    assert beside(settings("cifar10-c/*", "all", n_tune=100)) is None
    assert beside(settings("cifar10-c/*", "none", n_tune=100)) == Published(
        52.6, 0.0, TABLES[4].source
    )  # nothing is tuned


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        (STUDIES["imagenet-c"]("imagenet-c/*"), {"none": 18.2, "all": 50.7, "block 1": 51.6}),
        (breeds("living-17"), {"none": 80.7, "all": 92.8}),
        (breeds("entity-30"), {"none": 58.6, "all": 79.3}),
        (STUDIES["waterbirds"]("waterbirds"), {"none": 31.7, "all": 88.0, "last": 89.9}),
        (STUDIES["celeba"]("celeba"), {"none": 27.8, "all": 82.2, "last": 86.2}),
        (natural("camelyon17"), {"none": 86.2, "embedding": 95.6, "last_three": 87.5}),
        (natural("fmow", "clip-vit-l-14", "adamw"), {"none": 50.3, "first_three": 51.6}),
        (natural("fmow", "clip-vit-l-14", "sgd"), {}),
        (breeds("living-17", "clip-vit-b-16-grouped", "openai"), {"block 3": 86.1, "none": 65.6}),
    ],
    ids=lambda value: getattr(getattr(value, "base", None), "scenario", None),
)
def test_every_scenario_of_the_paper(study, expected):
    """By the settings that the paper's own recipe gives a run."""
    base = {f: getattr(study.base, f) for f in ("scenario", "model", "n_tune", "optimizer")}
    found = {name: beside(base | {"selection": name}) for name in ("none", *study.selections)}
    values = {name: number.value for name, number in found.items() if number}
    assert values.items() >= expected.items()
    assert bool(values) == bool(expected)
