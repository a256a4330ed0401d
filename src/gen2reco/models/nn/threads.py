"""Blocks of columns, worked on by as many threads as PyTorch may use."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def over_blocks(work: Callable[[int, int, int], None], rows: int, size: int) -> None:
    """Call work(block number, first row, one past the last) for every block of `size` rows.

    One block is one thread's work from beginning to end, matrix products included, so the result is
    the same for any number of threads.
    """
    blocks = [
        (number, start, min(start + size, rows))
        for number, start in enumerate(range(0, rows, size))
    ]
    threads = torch.get_num_threads()
    if threads == 1:
        for block in blocks:
            work(*block)
        return

    def quietly(block: tuple[int, int, int]) -> None:
        # Grad mode belongs to a thread, so it is switched off in each.
        with torch.no_grad():
            work(*block)

    list(_pool(threads, os.getpid()).map(quietly, blocks))


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Return threads in which PyTorch's own products run on one thread each.

    The process is part of the key, because a forked one needs threads of its own.
    """
    ready = threading.Barrier(threads + 1)

    def alone() -> None:
        # A thread takes over the common number when first asked, so ask before setting.
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="gen2reco-columns", initializer=alone)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    # The number is kept per thread, but each call also sets what threads born later start with: put
    # that back.
    torch.set_num_threads(threads)
    return pool
