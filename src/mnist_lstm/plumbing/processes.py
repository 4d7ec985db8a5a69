"""Work that several processes share, with the results of one, in its order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

_FEW = 200  # they are done before one has started


@contextmanager
def mapped(
    function: Callable[[Any], Any], things: Sequence[Any], count: int
) -> Iterator[Iterator[Any]]:
    """Hand out ``function`` of each of ``things``, computed by ``count`` processes.

    However the context ends, the processes end with it; so they do where this process dies.

    Raises:
        MemoryError: a process was killed, as the system does when memory runs out.
    """
    if count == 1 or len(things) < _FEW:
        yield map(function, things)
        return
    pool = ProcessPoolExecutor(count, initializer=_begin)
    try:
        yield pool.map(function, things, chunksize=4)
    except BrokenProcessPool:
        raise MemoryError from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Leave signals to the parent, and end with it; a pool's worker would not notice."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
