"""What came of each trial: lines, a bar, the best so far, what is to be pulled."""

from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_lstm.plumbing import progress
from mnist_lstm.plumbing.errors import one_line
from mnist_lstm.plumbing.files import write_bytes
from sweeps.errors import SweepError
from sweeps.plan import Plan, Result, Trial, metric_of

LOGS = Path(".dvc/tmp/sweep/logs")
ATTEMPTS = 3  # what kills three actors kills a fourth


class Record:
    """The trials of ``plan``; the experiments in ``there`` need not run."""

    def __init__(self, plan: Plan, there: Mapping[str, Result], metric: str):
        self.plan, self.metric = plan, metric
        known = plan.resume(there)
        self.bar = progress.bar(plan.total, "sweep", " trials")
        self.values = {n: metric_of(found.metrics, metric) for n, found in there.items()}
        self.left = plan.total  # trials that have not ended
        self.done: set[str] = set()  # those whose results are on the remote
        self.failed: set[str] = set()
        self.best: tuple[float, str] | None = None
        self.running: set[str] = set()
        self.deaths: Counter[str] = Counter()
        self.waiting: deque[Trial] = deque()
        for name in known:
            self._end(name, f"{name}: already there", self.values[name])
        self.trials = iter(plan)
        if trial := self.next():  # passes those that are there
            self.put_back(trial)

    def next(self) -> Trial | None:
        """Return a trial that is to be run, or None where none is left."""
        if self.waiting:
            trial = self.waiting.popleft()
            self.running.add(trial.name)
            return trial
        for trial in self.trials:
            if trial.name in self.running:  # proposed twice
                self._count()
            elif trial.name in self.values:
                value = self.values[trial.name]
                self.plan.tell(trial, value)
                self._end(trial.name, f"{trial}: already there", value)
            else:
                self.running.add(trial.name)
                return trial
        return None

    def put_back(self, trial: Trial) -> None:
        """Let ``trial`` run later."""
        self.running.discard(trial.name)
        self.waiting.append(trial)

    def died(self, trial: Trial) -> None:
        """Let ``trial``, whose actor died, run again, if that is of any use."""
        self.deaths[trial.name] += 1
        if self.deaths[trial.name] < ATTEMPTS:
            self.bar.write(f"{trial}: its actor died, it runs again")
            self.put_back(trial)
        else:
            self.ended(trial, {"error": f"its actor died {ATTEMPTS} times", "log": ""})

    def ended(self, trial: Trial, result: dict[str, Any]) -> None:
        """Take the ``result`` of ``trial``, as `Worker.run` returns it."""
        self.running.discard(trial.name)
        log = LOGS / f"{trial.name}.log"
        write_bytes(log, result["log"].encode())
        if result["error"]:
            self.failed.add(trial.name)
            self.plan.tell(trial, None)
            self._count()
            self.bar.write(f"failed: {trial}: {one_line(result['error'])}; see {log}")
            return
        value = self.values[trial.name] = metric_of(result["metrics"], self.metric)
        self.plan.tell(trial, value)
        said = "done" if value is None else f"{self.metric} {value:.4f}"
        if result["taken"]:
            said += ", but another machine was first: its result stands"
        self._end(trial.name, f"{trial}: {said}", value)

    def conclude(self) -> None:
        """Say what came of it all.

        Raises:
            SweepError: trials failed.
        """
        print(f"{len(self.done)} experiments are in `dvc exp show`")
        if self.best:
            print(f"best {self.metric}: {self.best[0]:.4f}; dvc exp apply {self.best[1]}")
        if self.failed:
            raise SweepError(f"{len(self.failed)} of {self.plan.total} trials failed")

    def _end(self, name: str, line: str, value: float | None) -> None:
        self.done.add(name)
        self.bar.write(line)
        lower = self.metric.endswith("loss")
        if value is not None and (
            not self.best or (value < self.best[0] if lower else value > self.best[0])
        ):
            self.best = (value, name)
            self.bar.set_postfix_str(f"best {self.metric} {value:.4f}", refresh=False)
        self._count()

    def _count(self) -> None:
        self.left -= 1
        self.bar.update()
