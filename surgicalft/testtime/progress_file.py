"""Where a stream that was stopped goes on: one file, which is whole or refused."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from surgicalft.models.checkpoints import CheckpointError, load_file_checked

FORMAT = "stream 1"


def save_progress(path: Path, run: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and plain values of the run of that identity; an older file stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts)
    about = {"format": FORMAT, "run": run, "facts": text, "sum": _sum(tensors, text)}
    partial = path.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, about)
    os.replace(partial, path)


def load_progress(path: Path, run: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_progress` wrote; CheckpointError for a file that is cut short, altered, or another run's."""
    tensors = load_file_checked(path)
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    if about.get("format") != FORMAT:
        raise CheckpointError(path, f"is not a stream's progress ({about.get('format')!r})")
    if about["run"] != run:
        raise CheckpointError(path, f"belongs to run {about['run']}, not to {run}")
    if about["sum"] != _sum(tensors, about["facts"]):
        raise CheckpointError(
            path, "its checksum does not fit: it was altered; delete it to start again"
        )
    return tensors, json.loads(about["facts"])


def _sum(tensors: dict[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
