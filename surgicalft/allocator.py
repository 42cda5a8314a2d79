"""Makes the C library keep the memory that tensors free.

By default glibc gives large blocks back to the system at once, and every training step then pays for having
its activations' pages mapped and zeroed again: about a tenth of a step of a small network on a CPU, more where
several threads train at once, because the system maps pages for one thread of a process at a time.
"""

import ctypes
import functools
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # from glibc's malloc.h
LARGEST_THRESHOLD = 32 * 2**20  # glibc's limit: larger blocks are always mapped afresh


@functools.cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep freed blocks up to 32 MB for reuse, once per process; False where it isn't glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    options = {
        M_ARENA_MAX: 1,  # threads' own arenas are too small for activations
        M_MMAP_THRESHOLD: LARGEST_THRESHOLD,
        M_TRIM_THRESHOLD: 2**31 - 1,
    }
    return all(mallopt(name, value) == 1 for name, value in options.items())
