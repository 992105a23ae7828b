"""Memory that was freed, given back: to the kernel, and to what asks for it by another allocator."""

import ctypes
import gc
import sys


def give_back_freed() -> None:
    """Let go of what nothing refers to any more; Arrow and the C library keep freed memory else.

    Does nothing for the C library where that isn't glibc.
    """
    gc.collect()
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()
    if sys.platform.startswith("linux") and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
