"""Surgical fine-tuning: tune one block of a pre-trained network, and find out which."""

from importlib.metadata import PackageNotFoundError, version

from surgicalft.blocks import Blocks, Selection
from surgicalft.executor import Executor
from surgicalft.finetune import Diverged, FineTune, Tuned, fine_tune
from surgicalft.freezing import freeze, trainable, unfreeze
from surgicalft.methods import Method, make_method
from surgicalft.models.normalized import Normalized
from surgicalft.models.pretrain import pretrained
from surgicalft.models.recipe import Pretrain
from surgicalft.models.zoo import load_published
from surgicalft.own import which_block
from surgicalft.runs import Run
from surgicalft.shifts import (
    Labelled,
    Splits,
    get_scenario,
    load_source,
    scenario_names,
    split_target,
)
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.record import Record
from surgicalft.sweep.store import Store

try:
    __version__ = version("surgicalft")
except PackageNotFoundError:  # used from a checkout without being installed
    __version__ = "0.1.0"

__all__ = [
    "Blocks",
    "Diverged",
    "Executor",
    "FineTune",
    "Labelled",
    "Method",
    "Normalized",
    "Pretrain",
    "Record",
    "Run",
    "Selection",
    "Splits",
    "Store",
    "Tuned",
    "fine_tune",
    "freeze",
    "get_scenario",
    "load_published",
    "load_source",
    "make_method",
    "pretrained",
    "run_all",
    "scenario_names",
    "split_target",
    "trainable",
    "unfreeze",
    "which_block",
]
