"""What frozen modules gave for whole splits: kept in memory, in a file if there is too little, and shared between runs.

`Memory` serves all runs that start from the same weights on the same target split, whatever they tune. What one run
needs is one entry: its tuning images never push out its validation images. The entry that was asked for longest ago
goes first, and only if nobody else holds it is its memory free.
"""

import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
from torch import Tensor, nn

from surgicalft.evaluate import ImageForm, to_float
from surgicalft.given_network import copy_network
from surgicalft.paths import cache_dir
from surgicalft.precision import autocast
from surgicalft.reuse import Answering, Leaf, Plan
from surgicalft.shifts.image_files import LazyImages

V = TypeVar("V")
SHARE = 0.5  # of the memory, or disk, that is free
FILL_BATCH, FILL_BYTES = 50, 2**25  # images at once, and what is kept of these


class Kept:
    """Outputs of frozen modules for the images of one split: rows (n, ...) for each leaf of the plan."""

    def __init__(self, plan: Plan, n: int, device: str, file: bool) -> None:
        self.plan = plan
        self.device = torch.device(device)
        make = _in_file if file else _in_memory
        self.rows = {
            leaf: make((n, *plan.layout(leaf).row), plan.layout(leaf).dtype, device)
            for leaf in plan.kept
        }

    def put(self, start: int, found: Mapping[Leaf, Tensor]) -> None:
        """The outputs for the images from `start` on."""
        for leaf, value in found.items():
            rows = self.plan.layout(leaf).as_rows(value)
            self.rows[leaf][start : start + len(rows)].copy_(rows)

    def __getitem__(self, index: Tensor | slice) -> dict[Leaf, Tensor]:
        """Copies of these images' outputs, on the device, with the strides that the modules gave them."""
        found = {}
        for leaf, rows in self.rows.items():
            if isinstance(index, slice):
                part = rows[index]
                part = part.clone() if rows.device == self.device else part.to(self.device)
            else:
                part = rows.index_select(0, index.to(rows.device)).to(self.device)
            found[leaf] = self.plan.layout(leaf).as_output(part)
        return found


def _in_memory(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=device)


def _in_file(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    """Mapped from a file without a name, which is gone with the tensor."""
    count = torch.Size(shape).numel()
    with tempfile.NamedTemporaryFile(dir=cache_dir("outputs"), delete=False) as file:
        os.truncate(file.name, max(1, count * dtype.itemsize))
    try:
        flat = torch.from_file(file.name, shared=True, size=count, dtype=dtype)
    finally:
        os.unlink(file.name)
    return flat.view(shape)


@dataclass
class _Entry:
    """What the runs on one plan keep, split by split."""

    kept: dict[tuple[str, int], Kept] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    reserved: int = 0  # bytes in memory


class Memory:
    """Plans and kept outputs of one network on one target split.

    `max_bytes`: of all outputs in memory; by default half of what is free (on the card, if that is where they are)
    when an entry is made. What is larger goes to a file in the cache folder, if that leaves half of the disk's free
    space, else nothing is kept and the network computes.
    """

    def __init__(self, max_bytes: int | None = None, max_file_bytes: int | None = None) -> None:
        self.max_bytes, self.max_file_bytes = max_bytes, max_file_bytes
        self._plans: dict[Hashable, Plan] = {}
        self._planning: dict[Hashable, threading.Lock] = {}
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._book = threading.Lock()

    def plan(self, key: Hashable, make: Callable[[], Plan]) -> Plan:
        """The plan of that key, from `make` the first time."""
        with self._book:
            lock = self._planning.setdefault(key, threading.Lock())
        with lock:
            if key not in self._plans:
                self._plans[key] = make()
            return self._plans[key]

    @property
    def nbytes(self) -> int:
        """Held in memory, not in files."""
        return sum(entry.reserved for entry in self._entries.values())

    def outputs(
        self,
        plan: Plan,
        network: nn.Module,
        splits: Mapping[str, Tensor | LazyImages],
        form: ImageForm,
        device: str,
        precision: str = "float32",
        later: int = 0,
    ) -> dict[str, Kept] | None:
        """Name of the split -> what is kept of its images, computed if it is not there; None where there is no room.

        `later` counts images that will be asked for with the same plan: room is made for them, too.
        """
        inside = {name for name, _ in plan.outputs}
        key = (plan.kept, precision, device, form, mark(network, lambda n: _within(n, inside)))
        marked = {name: (name, _mark_of(images)) for name, images in splits.items()}
        count = sum(map(len, splits.values())) + later
        with self._book:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
        with entry.lock:
            missing = {n: images for n, images in splits.items() if marked[n] not in entry.kept}
            if missing:
                where = self._room(entry, plan.nbytes * count, device)
                if where is None:
                    return None
                for name, images in missing.items():
                    entry.kept[marked[name]] = filled(
                        plan, network, images, form, device, precision, where
                    )
                    if not where:
                        entry.reserved += plan.nbytes * len(images)
            return {name: entry.kept[marked[name]] for name in splits}

    def _room(self, entry: _Entry, wanted: int, device: str) -> bool | None:
        """False: in memory, after others have gone; True: in a file; None: nowhere."""
        with self._book:
            limit = self.max_bytes
            if limit is None:
                limit = int(SHARE * (free_memory(device) + self.nbytes))
            if wanted <= limit:
                while self.nbytes - entry.reserved + wanted > limit:
                    key = next(k for k, e in self._entries.items() if e is not entry)
                    del self._entries[key]
                return False
        room = self.max_file_bytes
        if room is None:
            room = int(SHARE * shutil.disk_usage(cache_dir("outputs")).free)
        return True if wanted <= room else None


def mark(network: nn.Module, counts: Callable[[str], bool]) -> int:
    """Tells networks of other weights apart, by the sum of every parameter whose name counts."""
    sums = [
        float(p.detach().sum(dtype=torch.float64))
        for name, p in network.named_parameters()
        if counts(name)
    ]
    return hash(tuple(sums))


def _within(name: str, modules: Collection[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _mark_of(images: Tensor | LazyImages) -> int:
    """Tells other images apart, by their number and some of them."""
    some = images[:: max(1, len(images) // 50)]
    return hash((len(images), tuple(images.shape[1:]), some.to(torch.int64).cumsum(0).sum().item()))


def free_memory(device: str) -> int:
    """Bytes that are free: on the card, or in this machine and in the control group of this process."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return torch.cuda.mem_get_info(kind)[0]
    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return max(0, free)


def filled(
    plan: Plan,
    network: nn.Module,
    images: Tensor | LazyImages,
    form: ImageForm,
    device: str,
    precision: str,
    file: bool,
) -> Kept:
    """What is kept of all images, computed by copies of `network`, one for each core."""
    kept = Kept(plan, len(images), device, file)
    size = max(1, min(FILL_BATCH, FILL_BYTES // max(1, plan.nbytes)))
    starts = range(0, len(images), size)
    copies = [Answering(copy_network(network), plan) for _ in range(cores(device, len(starts)))]

    @torch.no_grad()  # a thread has a mode of its own
    def compute(job: int) -> None:
        for start in starts[job :: len(copies)]:
            part = to_float(images[start : start + size], device, form)
            with autocast(precision, device):
                kept.put(start, copies[job].remember(part))

    side_by_side(compute, range(len(copies)), device)
    return kept


def cores(device: str, batches: int) -> int:
    """How many batches are worked on at once."""
    cpu = torch.device(device).type == "cpu"
    return max(1, min(torch.get_num_threads() if cpu else 1, batches))


def side_by_side(compute: Callable[[Any], V], batches: Sequence[Any], device: str) -> list[V]:
    """`compute` of each batch, in order.

    On a CPU a batch per core: its threads then wait for each other at the end, not in every operation.
    """
    jobs = cores(device, len(batches))
    if jobs == 1:
        return list(map(compute, batches))
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(compute, batches))
    finally:
        torch.set_num_threads(threads)  # what threads that are started later begin with
