"""Checkpoints: what a run leaves when it dies, so that the next goes on bit for bit.

They lie in a scratch folder that DVC does not know, for it removes a stage's outputs
before it runs the stage. A run finds only its own: the folder's name is a hash of all that
its bits depend on.
"""

import hashlib
import json
import math
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from torch import Tensor

from mnist_lstm.plumbing.errors import TensorFileError, WorkersError
from mnist_lstm.plumbing.files import remove
from mnist_lstm.plumbing.inputs import refuse_changes
from mnist_lstm.plumbing.script import Request, Stopped
from mnist_lstm.tensorfile import load_tensors, save_tensors
from mnist_lstm.training.distributed import ALONE, Workers
from mnist_lstm.training.loop import Run

_KEPT = 2  # so that there is another where the newest is damaged
_SHARE = 0.005  # of the time, at most, goes into saving
_FIRST = 0.2  # seconds until the first; what it costs says when the next is due
_LONGEST = 50.0  # seconds between two checkpoints: a kill costs no more than a minute
_GRACE = 0.5  # seconds in which the signal that ended another worker comes here, too
_FINISHED = "finished"  # marks the folder of a run that wrote its results
_PARTS = ("params", "data", "code", "machine")
_KEY = "-".join(["[0-9a-f]" * 12] * len(_PARTS))  # a pattern of folder names


def checkpoint_key(params: dict, data: list[Path], machine: str) -> str:
    """Return the name of what a run's bits depend on: a hash of each of ``_PARTS``.

    Raises:
        UserError: the files are others than those that the run read.
    """
    files = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in data)
    parts = json.dumps(params, sort_keys=True).encode(), files, _code(), machine.encode()
    refuse_changes()
    return "-".join(hashlib.sha256(part).hexdigest()[:12] for part in parts)


def key_parts(key: str) -> dict[str, str]:
    """Return the parts of a run's key by name: what they are hashes of."""
    return dict(zip(_PARTS, key.split("-"), strict=True))


class Checkpointer:
    """Saves a run to ``folder``, which is named by its key.

    As a context it first resumes the run from there; within, a signal ends it only once
    the run is saved. A thread writes each checkpoint from a copy, while the run goes on.
    """

    def __init__(self, folder: Path, run: Run, workers: Workers = ALONE):
        self.folder = folder
        self.run = run
        self.workers = workers  # of which the first saves
        self.request = Request()
        self.due = 0.0  # by time.monotonic(); infinity while one is written
        self.thread = ThreadPoolExecutor(1)
        self.written: Future[None] | None = None  # the newest that is not known to be whole

    def __enter__(self) -> "Checkpointer":
        if self.workers.rank == 0:
            self._resume()
            remove(self.folder / _FINISHED)
        if self.workers.count > 1:
            tensors, metadata = self.run.state()
            tensors = {name: values.cpu() for name, values in tensors.items()}
            self.run.restore(*self.workers.spread((tensors, metadata)))
        self.request.__enter__()
        self.due = time.monotonic() + _FIRST
        return self

    def __exit__(self, kind: object, error: object, *_: object) -> None:
        try:
            if isinstance(error, WorkersError):  # it left the run between two steps
                self.save()
                self.wait()
                time.sleep(_GRACE)
                self._stop_if_asked()
        finally:
            self.thread.shutdown()
            self.request.__exit__()

    def save_if_due(self) -> None:
        """Save by the clock; call it between two steps.

        Raises:
            Stopped: a signal asked to end; the run is saved.
            OSError: no room; the checkpoints before it stay.
        """
        asked = self.request.signum
        if self.written and self.written.done():
            self.wait()
        if asked or time.monotonic() >= self.due:
            self.save()
        if asked:
            self.wait()
            self._stop_if_asked()

    def save(self) -> None:
        """Copy the run's state and begin to write it, once the one before is written."""
        if self.workers.rank > 0:
            return
        self.wait()
        self.due = math.inf
        start = time.monotonic()
        tensors, metadata = self.run.state()
        copies = {name: values.to("cpu", copy=True) for name, values in tensors.items()}
        self.written = self.thread.submit(self._write, copies, metadata, start)

    def wait(self) -> None:
        """Wait until what was saved is written; raise what went wrong."""
        written, self.written = self.written, None
        if written:
            written.result()

    def _stop_if_asked(self) -> None:
        if signum := self.request.signum:
            raise Stopped(signum, f"the next run resumes from {self.run.position}")

    def _write(self, tensors: dict[str, Tensor], metadata: dict, start: float) -> None:
        """Write a checkpoint, whole or not at all, and forget the oldest."""
        saved = self._saved()
        number = int(saved[-1].stem) + 1 if saved else 0
        path = self.folder / f"{number:08}.safetensors"
        save_tensors(path, tensors, metadata)
        for old in self._saved()[:-_KEPT]:
            remove(old)
        now = time.monotonic()
        self.due = now + min(_LONGEST, (now - start) / _SHARE)

    def finish(self) -> None:
        """Save the run, now that it has written its results, and keep that one checkpoint.

        DVC has yet to record them: where that fails, the next run has only to write them
        again. Those of runs that finished earlier go.

        Raises:
            Stopped: a signal asked to end, so nothing is recorded.
            UserError: what it read has changed meanwhile, so nothing is recorded.
        """
        self.due = 0.0
        self.save_if_due()
        self.wait()
        if self.workers.rank > 0:
            return
        refuse_changes()  # its checkpoints stay, like those of a run that died
        for old in self._saved()[:-1]:
            remove(old)
        for folder in self._others():
            if (folder / _FINISHED).exists():
                remove(folder)
        (self.folder / _FINISHED).touch()

    def _resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one; say so, or why not."""
        saved = self._saved()
        for path in reversed(saved):
            try:
                state = load_tensors(path, writer="train")
            except TensorFileError as error:
                print(f"warning: skipping a checkpoint: {error}", file=sys.stderr)
                remove(path)
                continue
            self.run.restore(*state)
            print(f"resuming from {self.run.position}", flush=True)
            return
        if saved:
            print("starting from scratch: no checkpoint is whole", flush=True)
        elif changed := self._changed():
            what = f"changed since the last checkpoint: {changed}"
            print(f"starting from scratch: {what}", flush=True)

    def _saved(self) -> list[Path]:
        """Return this run's checkpoints, the oldest first."""
        return sorted(self.folder.glob("[0-9]" * 8 + ".safetensors"))

    def _others(self) -> list[Path]:
        """Return the folders of other runs; what bears another name is the user's own."""
        return [p for p in self.folder.parent.glob(_KEY) if p.name != self.folder.name]

    def _changed(self) -> str:
        """Return in which parts the key of the newest run that died differs, if any did."""
        died = [path for path in self._others() if not (path / _FINISHED).exists()]
        if not died:
            return ""
        newest = max(died, key=lambda path: path.stat().st_mtime)
        theirs, ours = key_parts(newest.name), key_parts(self.folder.name)
        return ", ".join(name for name in _PARTS if theirs[name] != ours[name])


def _code() -> bytes:
    """Return the source that a run's bits depend on: the script's, and what it imported.

    The plumbing is left out, as it is of the stage's dependencies in dvc.yaml.
    """
    ours = [name for name in sorted(sys.modules) if name.startswith("mnist_lstm.")]
    names = [name for name in ours if not name.startswith("mnist_lstm.plumbing")]
    files = [getattr(sys.modules[name], "__file__", None) for name in ("__main__", *names)]
    return b"".join(Path(file).read_bytes() for file in files if file)
