"""Freed blocks are reused rather than given back: counted in page faults, in a process of its own."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from surgicalft.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step = lambda: [torch.ones(1_000_000) for _ in range(20)]  # 4 MB each, as activations are
for _ in range(3):
    step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
def test_keeping_memory_avoids_page_faults():
    # glibc's own threshold, held: it moves with what is freed, and then may keep blocks by chance
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", SCRIPT, how], text=True, env=env))
        for how in ("keep", "give back")
    }
    assert faults["keep"] < faults["give back"] / 10
