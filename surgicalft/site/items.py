"""Every table, figure, proposition and theorem of the paper, and which of our tables and figures answer it.

The files of an item are figures/<notebook>/<profile>[-<tag>][-<part>], see `surgicalft.report.experiment`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One thing that the paper shows.

    tables, figures: parts, in the order in which they are shown; "" is the notebook's main one.
    tags: variants of a profile that belong here, "" the profile itself.
    compared: the part whose column `paper` is compared with ours; None: the paper prints no numbers, or not these.
    source: what `paper_source` begins with in the rows to compare; "" takes every row with a number.
    means: of these only the rows over several scenarios.
    missing: why nothing here answers it, where that is so whatever is run.
    """

    title: str
    about: str
    notebook: str = ""
    tables: tuple[str, ...] = ("",)
    figures: tuple[str, ...] = ("",)
    tags: tuple[str, ...] = ("",)
    compared: str | None = None
    source: str = ""
    means: bool = False
    missing: str = ""

    @property
    def page(self) -> str:
        """Name of its page."""
        return self.title.lower().translate({ord(" "): "-", ord(","): None}) + ".html"


_NATURAL, _PARTS, _CHOOSING = "04_natural_shifts", "05_vision_transformers", "06_choosing_layers"
_PLANTED, _STREAMS, _TWO_LAYERS = "07_planted_shifts", "09_test_time", "01_propositions"
_CLIP = ("clip-vit-tiny-sgd", "clip-vit-tiny-adamw")
_CHOICES = ("", "memo-resnet26-gn", "criteria", "candidates")


def _memo(number: int, about: str, tag: str, repeats: int | None = None) -> Item:
    """MEMO's accuracies; `repeats`: the table whose means are this one."""
    return Item(
        title=f"Table {number}",
        about=about,
        notebook=_STREAMS,
        tables=("gain", "grid") if repeats else ("",),
        figures=("gain",) if repeats else ("dots",),
        tags=(tag,),
        compared="long",
        source=f"Table {repeats or number} ",
        means=repeats is not None,
    )


ITEMS = (
    Item("Figure 1", "source and target of each kind of shift", "00_shifts"),
    Item(
        title="Figure 2",
        about="accuracy by block tuned",
        notebook="03_which_block",
        tables=("", "verdicts", "sources"),
        compared="",
    ),
    Item(
        title="Figure 3",
        about="not known",
        missing="the paper's text, from which this was made, does not mention it",
    ),
    Item(
        title="Figure 4, left",
        about="accuracy by number of images to tune on",
        notebook="03_which_block",
        tables=("images",),
        figures=("images",),
    ),
    Item(
        title="Figure 4, right",
        about="accuracy at test time by number of images seen",
        notebook=_STREAMS,
        tables=("streams", "streams-gain"),
        figures=("curve",),
    ),
    Item(
        title="Figure 5",
        about="noise planted in one block, and which block repairs it",
        notebook=_PLANTED,
        tables=("", "verdicts", "damage"),
        tags=("", "activations"),
    ),
    Item(
        title="Figure 6",
        about="what Auto-RGN gives each tensor",
        notebook="08_auto_rgn_weights",
        tags=("", "activations"),
    ),
    Item(
        title="Table 1",
        about="which part of a vision transformer",
        notebook=_NATURAL,
        tables=("", "verdicts"),
        figures=_CLIP[:1],
        compared="",
        source="Table 8 ",  # whose SGD half repeats Table 1
    ),
    _memo(2, "MEMO on CIFAR-10-C, means", "", repeats=9),
    _memo(3, "MEMO on ImageNet-C, means", "imagenet", repeats=10),
    Item(
        title="Table 4",
        about="methods that choose what to tune",
        notebook=_CHOOSING,
        tables=("", "bench"),
        figures=("dots", "cost"),
        tags=_CHOICES,
        compared="long",
        source="Table 4 ",
    ),
    Item(
        title="Table 5",
        about="Auto-RGN against noise in one block",
        notebook=_PLANTED,
        tables=("table5", "auto-rgn"),
        figures=(),
        tags=("", "activations"),
        compared="table5",
        source="Table 5 ",
    ),
    Item(
        title="Table 6",
        about="mean corruption error",
        notebook=_CHOOSING,
        tables=("corruption-error",),
        figures=(),
        tags=_CHOICES,
        compared="corruption-error",
        source="Table 6 ",
    ),
    Item(
        title="Table 7",
        about="a vision transformer in six parts",
        notebook=_PARTS,
        tables=("", "verdicts", "sources"),
        compared="",
        source="Table 7 ",
    ),
    Item(
        title="Table 8",
        about="vision transformers with SGD and AdamW",
        notebook=_NATURAL,
        tables=("", "sources"),
        figures=_CLIP,
        compared="",
        source="Table 8 ",
    ),
    _memo(9, "MEMO on CIFAR-10-C by corruption", ""),
    _memo(10, "MEMO on ImageNet-C by corruption", "imagenet"),
    Item(
        title="Proposition 1",
        about="the first layer under a shift of the inputs",
        notebook=_TWO_LAYERS,
        tables=("named", "blur", "condition"),
        figures=("first-layer",),
    ),
    Item(
        title="Proposition 2",
        about="the last layer under a shift of the outputs",
        notebook=_TWO_LAYERS,
        tables=("signs",),
        figures=("last-layer",),
    ),
    Item(
        title="Theorem 1",
        about="tuning both layers forgets, tuning the first does not",
        notebook="02_theorem1",
        tables=("theorem1",),
        figures=("law", "phases", "breaks", "paths", "lemma2", "costs"),
    ),
)
