"""Running batches on every core at once: each core its own batch, which needs no waiting for one another inside.

The threads that torch was told to use are shared out; results come back in the order they are done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
# More would get in each other's way between the products, where Python runs one at a time.
MOST_WORKERS = 8
# Seconds between two looks at progress and cancel.
LOOK_EVERY = 0.05


def run_all(
    items: Sequence[Item],
    work: Callable[[Item, threading.Event], Result],
    look: Callable[[], None],
    device: torch.device,
) -> Iterator[tuple[int, Result]]:
    """(number, result) of each item, as they are done. `look` is called often, in the caller's thread.

    Whatever `look` or `work` raises ends all of it: the event given to `work` is set, and its threads are waited for.
    """
    threads = torch.get_num_threads()
    workers = min(len(items), threads, MOST_WORKERS) if device.type == "cpu" else 1
    stop = threading.Event()
    if workers < 2:
        for number, item in enumerate(items):
            look()
            yield number, work(item, stop)
        return

    def begin() -> None:
        torch.set_num_threads(max(threads // workers, 1))

    def one(item: Item) -> Result:
        # Gradient mode is each thread's own.
        with torch.no_grad():
            return work(item, stop)

    pool = ThreadPoolExecutor(workers, "sweep", initializer=begin)
    pending: dict[Future[Result], int] = {}
    try:
        pending = {pool.submit(one, item): number for number, item in enumerate(items)}
        while pending:
            done, _ = wait(pending, LOOK_EVERY, FIRST_COMPLETED)
            look()
            for future in sorted(done, key=pending.__getitem__):
                yield pending.pop(future), future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        # MKL keeps one number of threads for the whole process.
        torch.set_num_threads(threads)
