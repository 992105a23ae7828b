"""Work on many files at once, by threads: Pillow reads and decodes without Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items that wait for a thread, per thread: enough to keep it busy, few enough to end soon after an interrupt.
AHEAD = 16


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = os.cpu_count() or 1
) -> Iterator[Result]:
    """What the function gives for each, in order; as many at once as there are threads, and few of them waiting."""
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[Result]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(function, item))
                if len(under_way) > threads * AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
