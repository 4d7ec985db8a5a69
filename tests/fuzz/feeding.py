"""Feed a reader many files: the bounds that all of them share."""

import re
import resource
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from mnist_lstm.plumbing.errors import UserError

HANG = 5.0  # seconds of CPU that a file may take: machines are shared
MEMORY = 2**30  # bytes that the process may ever have held, its libraries included


def peak_memory() -> int:
    """Return the bytes that this process has held at most."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts what its parent held before it began, too, if asked
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())[0]) * 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def feed(n: int, files: SearchStrategy, read: Callable[[object], object]) -> None:
    """Have ``read`` read ``n`` of ``files``; say what came of them.

    Each is read or refused: a ``UserError`` of printable lines. Anything else, a wait or
    more memory ends this with a traceback. The same files come each time.
    """
    fed = accepted = 0
    slowest = 0.0

    def one(content: object) -> None:
        nonlocal fed, accepted, slowest
        start = time.process_time()
        try:
            read(content)
        except UserError as error:
            for line in str(error).split("\n"):
                assert line.isprintable(), line
                assert line
        else:
            accepted += 1
        fed += 1
        slowest = max(slowest, time.process_time() - start)

    round_ = 0
    while fed < n:  # it may stop before, where it sees nothing new
        once = settings(
            max_examples=n - fed,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(round_)(once(given(files)(one)))()
        round_ += 1
    peak = peak_memory()
    print(
        f"{fed:,} files, {accepted:,} accepted, slowest {slowest:.2f} s, "
        f"peak memory {peak / 2**20:,.0f} MiB"
    )
    assert slowest < HANG
    assert peak < MEMORY
