"""Work done ahead of the moment it is needed, in order: batches on one thread, decoding on many;
and tensors sent to a card, for which nobody waits."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@contextmanager
def prefetch(
    make: Callable[[int, int], T], positions: Iterable[tuple[int, int]], *, depth: int = 2
) -> Iterator[Iterator[T]]:
    """Give `make(*position)` of each position, in order, made while the last one is in use.

        with ahead(make, positions) as batches:
            for batch in batches:
                step(batch)

    Up to `depth` results wait, or are in the making, while the caller works on the one before, so
    memory is bounded. Decoding and tensor operations let go of the interpreter's lock, so one
    thread suffices; being alone, it keeps the order, and `make` need not be safe to call twice at
    a time.

    Args:
        make: called on the background thread, once a position. The current CUDA device is a
            thread's own, so `make` must name its device by number.
        positions: what to make, drawn from as needed on the caller's thread; may be endless.
        depth: results made ahead, 1 or more.

    Raises:
        ValueError: `depth` below 1.
        Exception: whatever `make` raised, when its result is asked for; nothing comes after it.

    Leaving the block early, by an error or Ctrl-C too, calls `make` no more, waits for the call
    under way, and drops what is left.
    """
    with thread_pool(1) as pool:
        yield map_ahead(pool, make, positions, depth=depth)


@contextmanager
def thread_pool(count: int) -> Iterator[ThreadPoolExecutor]:
    """So many threads; on leaving, work not begun is dropped and work under way waited for."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_ahead(
    pool: ThreadPoolExecutor,
    function: Callable[..., T],
    items: Iterable[tuple[object, ...]],
    *,
    depth: int,
) -> Iterator[T]:
    """`function(*item)` of each item, in order, with `depth` of them begun ahead of the caller.

    `Executor.map` would take all items at once, and hold all results.

    Raises:
        ValueError: `depth` below 1.
    """
    if depth < 1:
        raise ValueError(f"depth {depth} is below 1")

    def results(left: Iterator[tuple[object, ...]]) -> Iterator[T]:
        waiting = deque(pool.submit(function, *item) for item in islice(left, depth))
        while waiting:
            waiting.extend(pool.submit(function, *item) for item in islice(left, 1))
            yield waiting.popleft().result()

    return results(iter(items))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; to CUDA by way of pinned memory.

    A copy from other memory waits until the card has done all it was asked to before. Copies made
    here are in the order of the card's other work, whichever thread asks for them, and pinned
    memory is kept until they are done.
    """
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
