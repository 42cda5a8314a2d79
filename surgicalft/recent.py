"""Values made once per key and kept while there is room; shared by the threads of a sweep."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Keeps values up to a total `size` of `limit`; the least recently used go first, the newest stays.

    Where two threads ask for the same key, one makes the value and the other waits for it.
    """

    def __init__(self, limit: int, size: Callable[[V], int] = lambda value: 1) -> None:
        self.limit, self._size = limit, size
        self._kept: OrderedDict[Hashable, V] = OrderedDict()
        self._making: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self._book = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value kept under `key`, or the one that `make` returns now."""
        with self._book:
            making = self._making[key]
        with making:
            value = self._kept[key] if key in self._kept else make()
            with self._book:
                self._kept[key] = value
                self._kept.move_to_end(key)
                while self.size > self.limit and len(self._kept) > 1:
                    self._kept.popitem(last=False)
        return value

    @property
    def size(self) -> int:
        return sum(self._size(value) for value in self._kept.values())
