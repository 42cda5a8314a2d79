"""`which_block`: tune every block of a network on some data, and say which one to tune."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from surgicalft.own.data import read_data
from surgicalft.own.network import OwnNetwork, Scale, prepare, usual_size
from surgicalft.own.outcome import Outcome, conclude_runs
from surgicalft.own.runs import OwnExecutor, OwnRun
from surgicalft.profiles import PAPER_LAST_RATES, PAPER_RATES
from surgicalft.settings import check_count, check_device, check_flag, check_number, check_text
from surgicalft.studies import Study
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store
from surgicalft.training import FineTune

MOST_JOBS = (
    4  # by default: each holds a copy of the network, its gradients and the optimiser's state
)


def which_block(
    model: nn.Module,
    train: Any,
    valid: Any = None,
    test: Any = None,
    *,
    selections: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    last_rates: Sequence[float] | None = None,
    epochs: int = 15,
    seeds: int | Sequence[int] = 3,
    batch_size: int = 64,
    evaluation_batch_size: int = 250,
    optimizer: str = "adam",
    schedule: str = "constant",
    weight_decay: float = 1e-4,
    norm: str = "eval",
    precision: str = "float32",
    patterns: Mapping[str, str] | None = None,
    normalize: Scale | None = None,
    size: int | None = None,
    layout: str | None = None,
    new_head: bool = False,
    valid_share: float = 0.2,
    test_share: float = 0.2,
    device: str = "cpu",
    jobs: int | None = None,
    store: str | Path | None = None,
    progress: bool = True,
    name: str = "own data",
) -> Outcome:
    """Tune each selection of `model` on `train`, and report on `test`; `model` itself stays as it is.

    Every selection learns by Eq. 1 of the paper, at every learning rate, for every seed. The epoch and the rate have
    the highest accuracy on `valid`; so has the recommended selection. Test images are read once a run, at its chosen
    epoch, and choose nothing; they say how sure the result is (`surgicalft.report.own_model_words`).

    model: from images (n, c, h, w) to logits (n, classes), of timm, of torchvision or your own, trained on what the
        data depart from.
    train, valid, test: each (images, labels), a data set of (image, label) pairs, a Labelled, or a folder with one
        folder per class; see `surgicalft.own.arrays` and `folders`. `train` alone may be a folder with train, valid and
        test in it. A part that is not given is drawn from `train` for each seed: `valid_share` or `test_share` of
        every class.
    selections: what `Blocks.select` takes; by default each block. "all" and "none" are always there, to compare with.
    rates: learning rates to try; by default 1e-3, 1e-4, 1e-5, and as `last_rates` 1e-1, 1e-2, 1e-3 for the block `last`
        alone, which bears and needs larger ones (appendix A.4). `rates` given without `last_rates` hold for it, too.
    seeds: their number, or a list. With all parts given they order the batches (and draw dropout), so that errors over
        seeds leave out what other images would change; else they draw the splits, too.
    norm: whose statistics BatchNorm uses, see `surgicalft.freezing`. precision: of the passes, "float32" or "bfloat16",
        which is faster where the processor has it, see `surgicalft.precision`. evaluation_batch_size: how many
        validation or test images pass at once; fewer take less memory.
    patterns: blocks, in order, as regular expressions, for a network that declares none; see `Blocks.of`.
    normalize: (mean, std) of images in [0, 1]; by default those of timm's `pretrained_cfg`, ImageNet's for torchvision,
        and none for your own. size: the side that images are brought to. layout: "nchw" or "nhwc" of arrays, where
        their shape leaves it open.
    new_head: for other classes than the model's: the last block is made anew and by default tuned with each of the
        others (`block 1+last`); `none` is then guessing, and no measure of the shift.
    jobs: runs at a time, each on one thread of the CPU, so that results do not depend on it; by default as many as
        PyTorch has threads, 4 at most. One on a GPU by default, and always for networks with dropout and the like.
    store: a file that keeps finished runs: the same call goes on after any stop. name: of the data, in titles.

    Raises ValueError for arguments that do not fit, before the data are read, and for data, before any tuning, with
    what does; RuntimeError, with the first reason, where all tuning fails, changes nothing, or leaves no selection
    with a result for each seed. Single runs that fail are left out; the notes say how many of how many, and why.
    """
    if train is None:
        raise ValueError("train must be labelled images, not None")
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    check_device(device)
    check_text("name", name)
    check_flag("new_head", new_head)
    how = FineTune(
        0.0,
        check_count("epochs", epochs, 1),
        batch_size,
        weight_decay,
        norm,
        optimizer=optimizer,
        schedule=schedule,
        precision=precision,
        evaluation_batch_size=evaluation_batch_size,
    )
    tried, numbers = _rates(rates, last_rates), _seeds(seeds)
    jobs = _usual_jobs(device) if jobs is None else check_count("jobs", jobs, 1)
    size = None if size is None else check_count("size", size, 1)
    data = read_data(
        train,
        valid,
        test,
        layout=layout,
        size=size,
        usual_size=usual_size(model),
        progress=progress,
        valid_share=check_number("valid_share", valid_share, 0, 1, ends=False),
        test_share=check_number("test_share", test_share, 0, 1, ends=False),
    )
    classes = max(data.largest_label + 1, len(data.classes)) if new_head else None
    example = data.train.images[torch.arange(2)]
    network = prepare(model, example, normalize, size, patterns, classes, device)
    data.check_labels(network.outputs)
    base = OwnRun(
        name,
        network.name,
        "none",
        n_tune=len(data.splits(0).tune),
        n_valid=len(data.splits(0).valid),
        network_fingerprint=network.fingerprint(),
        data_fingerprint=data.fingerprint(),
        **vars(how),
    )
    study = Study(base, _selections(network, selections), *tried)
    runs = [run for run in study.runs(numbers) if isinstance(run, OwnRun)]
    execute = OwnExecutor(network, data, device)
    with _opened(store) as kept:
        records = run_all(runs, kept, execute, 1 if network.random else jobs, progress)
    return conclude_runs(study, runs, records, execute)


def _selections(network: OwnNetwork, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Their names in full, and "all" at the end; "none" every study has."""
    if isinstance(asked, str):
        raise ValueError(f"selections must be a list, not {asked!r}")
    *body, last = network.blocks.names
    usual = [f"{block}+{last}" for block in body] if network.new_head else body
    names = dict.fromkeys(network.blocks.select(n).name for n in asked or [*usual, last])
    return (*(name for name in names if name not in ("all", "none")), "all")


def _rates(
    rates: Sequence[float] | None, last_rates: Sequence[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Those of all selections, and of the last block alone."""
    usual = PAPER_RATES if rates is None else _list_of_rates("rates", rates)
    last = PAPER_LAST_RATES if rates is None else usual
    return usual, last if last_rates is None else _list_of_rates("last_rates", last_rates)


def _list_of_rates(name: str, rates: Sequence[float]) -> tuple[float, ...]:
    """Different ones, as floats: 1 and 1.0 are one rate."""
    found = _items(name, rates, "learning rates above 0")
    checked = (check_number(f"{name}[{i}]", r, ends=False) for i, r in enumerate(found))
    return tuple(dict.fromkeys(map(float, checked)))


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if not isinstance(seeds, Iterable):
        return tuple(range(check_count("seeds", seeds, 1)))
    found = _items("seeds", seeds, "different seeds, or their number")
    checked = tuple(check_count(f"seeds[{i}]", seed) for i, seed in enumerate(found))
    if len(set(checked)) < len(checked):
        raise ValueError(f"seeds must be different ones, not {[*checked]}")
    return checked


def _items(name: str, values: Any, what: str) -> list[Any]:
    """The entries of a list or an array; ValueError for a text, a single number and nothing."""
    several = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    if not several or not (found := list(values)):
        raise ValueError(f"{name} must be a list of one or more {what}, not {values!r}")
    return found


def _usual_jobs(device: str) -> int:
    return min(MOST_JOBS, torch.get_num_threads()) if torch.device(device).type == "cpu" else 1


@contextmanager
def _opened(path: str | Path | None) -> Iterator[Store]:
    """The store there, or one for this call alone."""
    with tempfile.TemporaryDirectory() as folder, closing(Store(path or f"{folder}/runs")) as store:
        yield store
