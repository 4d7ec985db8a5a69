"""Run a sweep: experiments side by side on the CPUs or GPUs of a machine or a Ray cluster.

    python tools/sweep.py -S 'model.hdim=16,32,64' -S prepare.valid_size=5000
    python tools/sweep.py --search 20 -S prepare.valid_size=5000

Each trial is an experiment of DVC, run in a clone and pushed as it ends; `dvc exp show`
then has them all. What the remote has already is not run again. More: docs/sweeps.md.
"""

import argparse
import os
from pathlib import Path

from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import printable
from sweeps.errors import SweepError

_MOST = 10**6  # trials, GPUs or CPUs


def main() -> None:
    """Plan the trials, run those that are missing, bring all of them home."""
    script.end_in_one_line()
    options = parse()
    require("ray")
    if options.search:
        require("optuna")
    from sweeps.plan import Grid, Plan, Search
    from sweeps.pool import Pool
    from sweeps.record import Record
    from sweeps.remote import Code, Remote

    code = Code.here(options.carry)
    grid = Grid(code.version, options.overrides)
    plan: Plan = grid
    if options.search:
        plan = Search(grid, options.ranges, options.search, options.metric)
    remote = Remote.of_project()
    record = Record(plan, remote.results(code), options.metric)
    try:
        if record.left:  # else Ray need not start
            pool = Pool(options.address, options.gpus_each, options.cpus_each)
            with record.bar, remote.published(code) as source, pool.connected():
                pool.run(source, record)
    finally:
        remote.pull(code, record.done)
    record.conclude()


def parse() -> argparse.Namespace:
    """Return the options.

    Raises:
        SweepError: for one that is not meant to be.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("-S", dest="overrides", action="append", default=[], metavar="KEY=VALUES")
    add("--address", help="a Ray cluster's, or auto; without it: this machine")
    add("--gpus-each", type=float, help="GPUs of a trial; default: 1 where there are any")
    add("--cpus-each", type=float, default=1.0, help="CPUs of a trial; default: 1")
    add("--carry", action="store_true", help="take uncommitted changes along")
    add("--search", type=int, metavar="N", help="N trials that Optuna proposes")
    add("--ranges", type=Path, default=Path("runs/ranges.yaml"), help="of its proposals")
    add("--metric", default="valid.accuracy", help="what is best; or valid.loss")
    options = parser.parse_args()
    if options.metric.startswith("test."):
        raise SweepError(f"--metric {options.metric}: nothing is chosen on the test set")
    if options.metric not in ("valid.accuracy", "valid.loss"):
        raise SweepError(
            f"--metric {options.metric}: expected valid.accuracy or valid.loss"
        )
    for name, least in (("search", 1), ("gpus_each", 0), ("cpus_each", 0)):
        value = getattr(options, name)
        if value is not None and not least <= value <= _MOST:
            given = printable(f"{value}", 40)
            raise SweepError(f"--{name.replace('_', '-')} {given}: {least} to {_MOST:,}")
    return options


def require(module: str) -> None:
    """Import ``module``, which the extra `scale` brings."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        __import__(module)
    except ImportError:
        raise SweepError(
            f"{module} is not installed: `make scale` installs it, or "
            "pip install -r requirements-scale.txt"
        ) from None


if __name__ == "__main__":
    script.run(main, prints=True)
