"""Groups: subpopulations such as (bird, background), their balanced subsets, and accuracy in each."""

from collections.abc import Mapping

import torch
from torch import Tensor

from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled

# By scenario, in the order of the groups' numbers 2 * label + attribute, as Sagawa et al. (2020) number them.
GROUPS = {
    "waterbirds": (
        "landbird on land",
        "landbird on water",
        "waterbird on land",
        "waterbird on water",
    ),
    "celeba": ("not blond, not male", "not blond, male", "blond, not male", "blond, male"),
}


def balanced(data: Labelled, seed: int = 0, count: int | None = None) -> Labelled:
    """Equal numbers of each group (of each class, where there are no groups): as many as the smallest has.

    Drawn at random by `seed`, kept in their order, images unread. `count` is the number of groups or classes,
    0 to count - 1, if it is to be more than the largest number found. Raises ValueError where one is empty.
    """
    strata = data.labels if data.groups is None else data.groups
    what = "class" if data.groups is None else "group"
    sizes = torch.bincount(strata, minlength=count or 0)
    if count is not None and len(sizes) > count:
        raise ValueError(f"{what} {len(sizes) - 1} is not one of the {count}: 0 to {count - 1}")
    empty = (sizes == 0).nonzero().flatten().tolist()
    if empty or not len(sizes):
        raise ValueError(
            f"no images of {what} {', '.join(map(str, empty)) or 0}; per {what}: {sizes.tolist()}"
        )
    drawn = [_draw(strata, value, int(sizes.min()), seed) for value in range(len(sizes))]
    return data.take(torch.cat(drawn).sort().values)


def _draw(strata: Tensor, value: int, size: int, seed: int) -> Tensor:
    index = (strata == value).nonzero().flatten()
    return index[torch.randperm(len(index), generator=generator("balanced", seed, value))[:size]]


def group_accuracies(predictions: Tensor, labels: Tensor, groups: Tensor) -> dict[int, float]:
    """Share of correct predictions in each group, in percent; a group without images is left out.

    All (n,): predicted classes, true classes and the groups' numbers, which are not negative.
    """
    shapes = [tuple(value.shape) for value in (predictions, labels, groups)]
    if len(set(shapes)) > 1 or labels.ndim != 1:
        raise ValueError(f"predictions, labels and groups must be of one shape (n,), not {shapes}")
    sizes = torch.bincount(groups)
    hits = torch.bincount(groups[predictions == labels], minlength=len(sizes))
    found = sizes.nonzero().flatten()
    shares = 100 * hits[found].double() / sizes[found]
    return dict(zip(found.tolist(), shares.tolist(), strict=True))


def worst_group(accuracies: Mapping[int, float]) -> tuple[int, float]:
    """The group with the lowest accuracy, and that accuracy; of equal ones the first.

    `accuracies` as from `group_accuracies`. Raises ValueError where there are none.
    """
    if not accuracies:
        raise ValueError("there is no worst group where no group has images")
    return min(accuracies.items(), key=lambda item: (item[1], item[0]))
