"""Weights that training starts from, by name: from a local file, the cache, or the publisher."""

from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from surgicalft.blocks import Blocks
from surgicalft.models.checkpoints import (
    CheckpointError,
    load_weights,
    match_names,
    read_checkpoint,
)
from surgicalft.models.clip import ClipClassifier
from surgicalft.models.networks import build, ungrouped
from surgicalft.models.normalized import Normalized
from surgicalft.paths import cache_dir
from surgicalft.paths import data_dir as resolve_data_dir
from surgicalft.settings import check_choice

RANDOM = "random"


@dataclass(frozen=True)
class Weights:
    """A publisher's checkpoint.

    `files` are the names it may have, the publisher's own first; `page` describes it; `url` and the first digits
    of the file's SHA-256 are for the download, without which it has to be fetched by hand; `key` is where in the
    file the weights lie, if not at its top; `gelu` says that a CLIP tower has the exact GELU, not the quick one.
    """

    files: tuple[str, ...]
    page: str
    url: str = ""
    sha256: str = ""
    key: str | None = None
    gelu: bool = False

    def find(self, data_dir: Path | None) -> Path:
        """`weights/<file>` or `<file>` in the data folder, `<file>` in the cache, else the download.

        FileNotFoundError names the files, where they were looked for, the publisher's page and the folder.
        """
        root, cache = resolve_data_dir(data_dir), cache_dir("weights")
        for folder in ([root / "weights", root] if root else []) + [cache]:
            for file in self.files:
                if (folder / file).is_file():
                    return folder / file
        if not self.url:
            raise self._absent(root, cache, "its publisher offers no checked download")
        path = cache / self.files[0]
        try:
            torch.hub.download_url_to_file(self.url, str(path), self.sha256)
        except (URLError, OSError) as error:
            why = f"{self.url} could not be downloaded ({error})"
            raise self._absent(root, cache, why) from error
        except RuntimeError as error:  # torch.hub's for a wrong sum; it keeps nothing
            raise CheckpointError(path, f"downloaded from {self.url}, but {error}") from error
        return path

    def _absent(self, root: Path | None, cache: Path, why: str) -> FileNotFoundError:
        return FileNotFoundError(
            f"looked for {' or '.join(self.files)} in {root or 'no data folder'}, its folder weights and "
            f"{cache}; {why}. Get it from {self.page} and put it into the folder weights of the data "
            f"folder (data_dir or SURGICALFT_DATA), or into {cache}"
        )


def _openai(file: str, sha256: str) -> Weights:
    """OpenAI's own file, a TorchScript archive; addresses and sums from `_MODELS` in OpenAI's clip/clip.py."""
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}"
    return Weights((file,), "https://github.com/openai/CLIP", url, sha256)


TORCHVISION = (
    "https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet50.html"
)
WEIGHTS = {
    "resnet50": {
        "imagenet-v1": Weights(
            ("resnet50-0676ba61.pth",),
            TORCHVISION,
            "https://download.pytorch.org/models/resnet50-0676ba61.pth",
            "0676ba61",
        ),
        "imagenet-v2": Weights(
            ("resnet50-11ad3fa6.pth",),
            TORCHVISION,
            "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
            "11ad3fa6",
        ),
        "timm-a1": Weights(
            ("resnet50_a1_0-14fe96d1.pth", "resnet50.a1_in1k.safetensors"),
            "https://huggingface.co/timm/resnet50.a1_in1k",
            "https://github.com/huggingface/pytorch-image-models/releases/download/"
            "v0.1-rsb-weights/resnet50_a1_0-14fe96d1.pth",
            "14fe96d1",
        ),
    },
    "clip-vit-b-16": {
        "openai": _openai(
            "ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
        ),
        "laion2b": Weights(
            (
                "CLIP-ViT-B-16-laion2B-s34B-b88K.safetensors",
                "CLIP-ViT-B-16-laion2B-s34B-b88K.bin",
            ),
            "https://huggingface.co/laion/CLIP-ViT-B-16-laion2B-s34B-b88K "
            "(open_clip_model.safetensors or open_clip_pytorch_model.bin, renamed)",
            gelu=True,
        ),
    },
    "clip-vit-l-14": {
        "openai": _openai(
            "ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
        )
    },
    "clip-vit-l-14-336": {
        "openai": _openai(
            "ViT-L-14-336px.pt", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
        )
    },
    "rvt-small": {
        "imagenet": Weights(
            ("rvt_small_plus.pth", "rvt_small*.pth"),
            "https://github.com/vtddggg/Robust-Vision-Transformer (rvt_small*)",
            key="model",
        )
    },
}


def weight_names(name: str) -> tuple[str, ...]:
    """The names of the weights that there are for the network `name`, "random" first."""
    return (RANDOM, *WEIGHTS.get(_architecture(name), {}))


def initial_network(
    name: str, weights: str, classes: int, seed: int, data_dir: Path | None = None
) -> nn.Module:
    """The network `name` of `surgicalft.models.networks.build`, with these weights.

    "random" leaves it as `seed` made it. Where the checkpoint's classifier has another number of outputs than
    `classes`, or it has none (CLIP), the classifier is the one that `seed` made; all else is the publisher's.

    Raises ValueError for an unknown name, with the legal ones, FileNotFoundError for weights that are neither
    here nor to be had, CheckpointError for a file that cannot be read or is of another architecture.
    """
    network = build(name, classes, seed)
    check_choice(f"weights of {name}", weights, weight_names(name))
    if weights != RANDOM:
        source = WEIGHTS[_architecture(name)][weights]
        path = source.find(data_dir)
        assert isinstance(network, Normalized)
        _fill(network.network, read_checkpoint(path, source.key), path, source.gelu)
    return network


def _architecture(name: str) -> str:
    """The name without what changes no weights: CLIP's activation and grouping."""
    return ungrouped(name).removesuffix("-gelu")


def _fill(network: nn.Module, weights: dict[str, Tensor], path: Path, gelu: bool) -> None:
    if not isinstance(network, ClipClassifier):
        found = match_names(weights, network.state_dict(), path)
        load_weights(network, _with_own_classifier(network, found), path)
        return
    if network.quick_gelu == gelu:
        activations = ("exact", "-gelu") if gelu else ("quick", "")
        raise CheckpointError(
            path,
            f"was trained with the {activations[0]} GELU: use a clip-vit-...{activations[1]} network",
        )
    own = {f"visual.{name}" for name in network.visual.state_dict()}
    found = match_names(weights, own, path)
    tower = {n.removeprefix("visual."): w for n, w in found.items() if n.startswith("visual.")}
    load_weights(network.visual, tower, path)  # strict: never resamples a positional embedding


def _with_own_classifier(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, with the network's classifier in place of one with another number of outputs."""
    own = network.state_dict()
    last = Blocks.of(network).parameters("last")
    if all(name in weights and len(weights[name]) == len(own[name]) for name in last):
        return weights
    return {**weights, **{name: own[name] for name in last}}
