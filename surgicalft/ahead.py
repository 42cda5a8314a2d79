"""Values made ahead of their use, in order, by a few threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
V = TypeVar("V")


def ahead(make: Callable[[T], V], items: Iterable[T], workers: int) -> Iterator[V]:
    """`map(make, items)`, with up to 2 * workers values made before they are asked for; 0 workers: none.

    What `make` raises is raised where its value would have come.
    """
    if not workers:
        yield from map(make, items)
        return
    queue, waiting = iter(items), deque[Future[V]]()
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(make, item) for item in islice(queue, 2 * workers))
            while waiting:
                value = waiting.popleft().result()
                waiting.extend(pool.submit(make, item) for item in islice(queue, 1))
                yield value
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
