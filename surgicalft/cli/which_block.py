"""`surgicalft which-block`: which block to tune of a network of timm or torchvision, on a folder of images.

surgicalft which-block --model resnet18 --pretrained --data FOLDER     the weights that the library's publisher offers
surgicalft which-block --model resnet18 --weights FILE --data FOLDER   your own
surgicalft which-block ... --output DIR                                where the table, the figure and the weights go

FOLDER has a folder of images for each class, or the folders train, valid and test that do. The classes, sorted by name
(or by number, if all names are whole numbers), are the network's outputs in their order, and are printed; where these
are not as many, the last layer is made anew. The same command goes on after any stop.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

NAME = "which-block"
ABOUT = (
    "which block to tune of your model on your images: accuracy per block, figure, tuned weights"
)
TORCHVISION = "torchvision/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgicalft which-block`."""
    some: dict[str, Any] = {"nargs": "+", "default": None}
    numbers = {**some, "type": float, "metavar": "X"}
    option = parser.add_argument
    option("--model", required=True, help="a name in timm, or torchvision/NAME")
    option(
        "--data", required=True, type=Path, help="class folders, or train, valid, test with such"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pretrained", action="store_true", help="the publisher's weights")
    source.add_argument("--weights", type=Path, metavar="FILE", help="safetensors, or torch's")
    option("--key", help="where in FILE the weights lie, if not at its top, such as state_dict")
    option("--selections", **some, metavar="NAME", help="what to tune; default: each block")
    option("--rates", **numbers, help="learning rates; default: 1e-3 1e-4 1e-5")
    option("--last-rates", **numbers, help="of the last block; default: 1e-1 1e-2 1e-3, or --rates")
    option("--seeds", **some, type=int, metavar="N", help="how many, or which; default: 3")
    option("--epochs", type=int, default=15, help="default: %(default)s")
    option("--batch-size", type=int, default=64, help="default: %(default)s")
    option("--precision", default="float32", help="or bfloat16; default: %(default)s")
    option("--size", type=int, help="the side of the images; default: theirs, or timm's")
    option("--mean", **numbers, help="of images in 0..1, by channel; default: the library's")
    option("--std", **numbers, help="likewise")
    option("--device", default="cpu", help="default: %(default)s")
    option("--jobs", type=int, help="runs at a time; default: by the cores")
    option(
        "--output", type=Path, default=Path("which-block"), help="a folder; default: %(default)s"
    )


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """0, or 1 where runs fail so that nothing can be compared; a wrong command or folder ends with 2."""
    from surgicalft.own.folders import STEM
    from surgicalft.sweep.store import StoreError

    try:
        outcome = _outcome(options)
    except (ValueError, FileNotFoundError, StoreError) as error:
        parser.error(str(error))
    except RuntimeError as error:
        print(f"surgicalft which-block: {error}", file=sys.stderr)
        return 1
    stem = options.output / STEM
    print(outcome, "", *outcome.write(stem), outcome.save(f"{stem}.safetensors"), sep="\n")
    return 0


def _outcome(options: argparse.Namespace) -> Any:
    from surgicalft.own import which_block
    from surgicalft.own.folders import STORE, class_names

    if (options.mean is None) != (options.std is None):
        raise ValueError("--mean and --std go together")
    classes = class_names(options.data)
    model, outputs = load_model(options.model, options.weights, options.key)
    seeds: list[int] = options.seeds or [3]
    return which_block(
        model,
        options.data,
        selections=options.selections,
        rates=options.rates,
        last_rates=options.last_rates,
        epochs=options.epochs,
        seeds=seeds[0] if len(seeds) == 1 else seeds,
        batch_size=options.batch_size,
        precision=options.precision,
        normalize=None if options.mean is None else (options.mean, options.std),
        size=options.size,
        new_head=outputs != len(classes),
        device=options.device,
        jobs=options.jobs,
        store=options.output / STORE,
        name=options.data.resolve().name,
    )


def load_model(name: str, weights: Path | None, key: str | None = None) -> "tuple[nn.Module, int]":
    """The network `name`, of timm or "torchvision/NAME", and the number of its outputs: that of its weights.

    weights: a file, read by `surgicalft.models.checkpoints`, under `key`; None: the publisher's.

    Raises ValueError for an unknown name, FileNotFoundError for weights that are not to be had, and CheckpointError for
    those of another architecture, with what differs.
    """
    from surgicalft.blocks import Blocks
    from surgicalft.models.checkpoints import load_weights, match_names, read_checkpoint

    make, published = _maker(name)
    if weights is None:
        network = _published(name, published)
        last = Blocks.of(network).parameters("last")[-1]
        return network, len(network.get_parameter(last))
    found = read_checkpoint(weights, key)
    network = make()
    found = match_names(found, network.state_dict(), weights)
    last = Blocks.of(network).parameters("last")[-1]
    outputs = len(found[last] if last in found else network.get_parameter(last))
    network = make(num_classes=outputs)
    load_weights(network, found, weights)
    return network, outputs


def _maker(name: str) -> "tuple[Callable[..., nn.Module], Callable[[], nn.Module]]":
    """What makes the network, untrained and with the publisher's weights; ValueError with similar names."""
    import difflib

    trained: dict[str, Any]
    if name.startswith(TORCHVISION):
        from torchvision import models

        own, legal = name.removeprefix(TORCHVISION), models.list_models(module=models)
        make, trained = models.get_model, {"weights": "DEFAULT"}
    else:
        import timm  # here: it takes seconds to import

        own, legal = name.removeprefix("timm/"), timm.list_models()
        make, trained = timm.create_model, {"pretrained": True}
    if own.split(".")[0] not in legal:
        close = difflib.get_close_matches(own, legal, n=3)
        raise ValueError(
            f"unknown model {name!r}; similar: {close}; a name in timm or torchvision/"
        )
    return lambda **options: make(own, **options), lambda: make(own, **trained)


def _published(name: str, make: "Callable[[], nn.Module]") -> "nn.Module":
    try:
        return make()
    except Exception as error:  # whatever timm, huggingface_hub or urllib raise without a network
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise FileNotFoundError(
            f"the published weights of {name} could not be had ({type(error).__name__}: {reason}); give a file of "
            "weights, --weights FILE"
        ) from error
