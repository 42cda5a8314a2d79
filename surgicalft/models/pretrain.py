"""Source models: trained once, cached by their settings and their data."""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from surgicalft.models.networks import build
from surgicalft.models.recipe import Pretrain
from surgicalft.models.train import train
from surgicalft.models.weights import initial_network
from surgicalft.paths import cache_dir
from surgicalft.seeds import derive_seed
from surgicalft.settings import identity
from surgicalft.shifts.base import Labelled, Source, load_source
from surgicalft.shifts.decoded import keep


@dataclass(frozen=True)
class SourceModel:
    """A trained network with what is known of it: settings, accuracies (in percent), history."""

    network: nn.Module
    info: dict[str, Any]


def pretrained(
    settings: Pretrain,
    data_dir: Path | None = None,
    device: str = "cpu",
    progress: bool = True,
    unreadable: str = "raise",
    workers: int | None = None,
) -> SourceModel:
    """The source model of these settings: from the cache, or trained now and put there.

    A training that was killed goes on from its last whole epoch. `unreadable` says what to do with images
    that cannot be decoded, see `surgicalft.shifts.decoded.keep`; `workers` make batches ahead of their use
    (by default none on a CPU, which has other things to do, and up to 8 beside a GPU).
    """
    source = load_source(settings.source, data_dir)
    mark = fingerprint(source.train)
    key = identity(settings, mark)
    folder = cache_dir("models")
    weights, notes = folder / f"{key}.safetensors", folder / f"{key}.json"
    seed = derive_seed("init", settings.seed)
    with FileLock(folder / f"{key}.lock"):  # two processes that want one model train it once
        if weights.exists() and notes.exists():
            network = build(settings.model, source.classes, seed)
            network.load_state_dict(load_file(weights))
            return SourceModel(network.to(device), json.loads(notes.read_text()))
        network = initial_network(settings.model, settings.weights, source.classes, seed, data_dir)
        resume = folder / f"{key}.resume"
        if workers is None:
            workers = 0 if torch.device(device).type == "cpu" else min(8, os.cpu_count() or 1)
        kept = _kept(source, unreadable, progress)
        info = train(network, kept, settings, device, progress, resume, workers)
        info["fingerprint"] = mark
        _save(network, info, weights, notes)
        resume.unlink(missing_ok=True)
    return SourceModel(network, info)


def _kept(source: Source, unreadable: str, progress: bool) -> Source:
    parts = (source.train, source.valid, source.test)
    learn, valid, test = (keep(part, unreadable, progress=progress) for part in parts)
    return replace(source, train=learn, valid=valid, test=test)


def fingerprint(data: Labelled) -> str:
    """Hash of the training images and labels: other data never load this model by mistake.

    Images that stay in their files stand in it by the files' names and sizes.
    """
    images = data.images
    content = images.numpy().tobytes() if isinstance(images, Tensor) else images.contents()
    digest = hashlib.sha256(content)
    digest.update(data.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def _save(network: nn.Module, info: dict[str, Any], weights: Path, notes: Path) -> None:
    """Write beside and rename, weights first: a killed training leaves no half a model."""
    partial = weights.with_suffix(".partial")
    save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, partial)
    partial.replace(weights)
    partial.write_text(json.dumps(info, indent=1))
    partial.replace(notes)
