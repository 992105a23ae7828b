"""How this process asks for memory while a network runs on the processor, and how much it has had."""

import ctypes
import resource
import sys

import torch

# mallopt's parameters, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 1 << 30


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 1 GiB for the next layer, not give them back to the kernel.

    Otherwise each activation is mapped, zeroed page by page and unmapped again: for mobilenetv2_100 at 192 pixels on
    two cores that took as long as the arithmetic. Does nothing with another C library.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, LARGEST)


def peak_memory() -> int:
    """The most bytes so far: of the GPU's memory that torch held, or without one, of the machine's in this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, others blocks of 1024.
    return peak if sys.platform == "darwin" else 1024 * peak
