"""Work on pieces on all cores, and return the results in order. zstd and BLAKE3 release the interpreter lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Final, TypeVar

A = TypeVar("A")
B = TypeVar("B")

CHUNK_SIZE: Final = 1 << 20
"""Bytes that a thread takes at a time: some 2 ms of work, much longer than the handover takes."""

MAX_THREADS: Final = 8
"""More threads do not help: the disk and the one thread that puts the results in order are busy by then."""


def threads() -> int:
    """Return how many threads this process may keep busy."""
    return min(len(os.sched_getaffinity(0)), MAX_THREADS)


def on_all_cores(work: Callable[[A], B], items: Iterable[A], item_size: int) -> Iterator[B]:
    """Yield `work(item)` for each of the items of `item_size` bytes, in their order.

    The caller's thread works on a few items itself. Of more items, at most four chunks a thread are in memory. An
    exception of `work` is raised in place of the results of its item and of the rest of its chunk.
    """
    count = max(CHUNK_SIZE // item_size, 1)
    rest = iter(items)
    first = list(islice(rest, 2 * count))
    if len(first) < 2 * count or threads() < 2:
        yield from map(work, chain(first, rest))
        return
    rest = chain(first, rest)
    del first
    with ThreadPoolExecutor(threads(), "pieces") as pool:
        begun: deque[Future[list[B]]] = deque()
        try:
            while chunk := list(islice(rest, count)):
                begun.append(pool.submit(_work_on, work, chunk))
                if len(begun) > 2 * threads():
                    yield from begun.popleft().result()
            while begun:
                yield from begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


def _work_on(work: Callable[[A], B], chunk: list[A]) -> list[B]:
    return [work(item) for item in chunk]
