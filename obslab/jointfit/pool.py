"""Serial kernels that release the interpreter's lock, run in parts on a few Python threads.

Not numba's ``parallel=True``: that takes three times as long to compile, and its idle OpenMP threads spin.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from obslab.errors import ConfigError


def threads() -> int:
    """How many threads share the work: OBSLAB_THREADS, else the cores this process may use."""
    wanted = os.environ.get("OBSLAB_THREADS", "")
    if not wanted:
        return len(os.sched_getaffinity(0))
    if not wanted.isdigit() or int(wanted) < 1:
        raise ConfigError(f"OBSLAB_THREADS is {wanted!r}, wanted a number of threads from 1 up", value=wanted)
    return int(wanted)


def run(kernel: Callable[..., Any], parts: int, *arguments: Any) -> None:
    """``kernel(part, *arguments)`` for each part, in any order; the calling thread does its share."""
    workers = min(threads(), parts)
    if workers <= 1:
        for part in range(parts):
            kernel(part, *arguments)
        return
    deal = iter(range(parts))

    def work(parts_left: Iterator[int]) -> None:
        for part in parts_left:  # next() of one shared iterator is atomic: each part is dealt once
            kernel(part, *arguments)

    others = [_executor(workers - 1).submit(work, deal) for _ in range(workers - 1)]
    try:
        work(deal)
    finally:
        for other in others:
            other.result()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS with one thread: its idle ones spin and take the cores from our own."""
    import scipy.linalg  # noqa: F401  brings a BLAS of its own, which a limit set before would not reach
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


@lru_cache
def _executor(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="jointfit")
