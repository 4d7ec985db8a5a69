"""Work that several processes share, with the results of one, in its order."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

_FEW = 200  # they are done before a worker has started


@contextmanager
def mapped(
    function: Callable[[Any], Any], things: Sequence[Any], n_worker: int
) -> Iterator[Iterator[Any]]:
    """Hand out ``function`` of each of ``things``, computed by ``n_worker`` processes.

    However the context ends, the workers end with it; so they do where this process dies.

    Raises:
        MemoryError: a worker was killed, as the system does when memory runs out.
    """
    if n_worker == 1 or len(things) < _FEW:
        yield map(function, things)
        return
    workers, ends = [], []
    try:
        for first in range(n_worker):
            end, its_end = Pipe(duplex=False)
            share = things[first::n_worker]
            worker = Process(target=_work, args=(function, share, its_end, end))
            worker.start()
            workers.append(worker)
            its_end.close()  # or the next worker would hold it, too, and hide its death
            ends.append(end)
        yield (_receive(ends[i % n_worker]) for i in range(len(things)))
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


class _Raised(NamedTuple):
    """What a worker's function raised; an error that it returned is a result."""

    error: Exception


def _work(
    function: Callable, share: Sequence, connection: Connection, parents: Connection
) -> None:
    """Send ``function`` of each of ``share``; or what it raises, and end."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the parent heeds them
    parents.close()  # who sends into a pipe that no one reads is told
    try:
        for thing in share:
            connection.send(function(thing))
    except BrokenPipeError:
        pass  # the parent is gone
    except Exception as error:
        connection.send(_Raised(error))


def _receive(connection: Connection) -> Any:
    try:
        found = connection.recv()
    except EOFError:
        raise MemoryError from None
    if isinstance(found, _Raised):
        raise found.error
    return found
