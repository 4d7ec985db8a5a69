"""Checkpoints: what a run leaves when it dies, so that the next goes on bit for bit.

They lie in a scratch folder that DVC does not know, for it removes a stage's outputs
before it runs the stage. A run finds only its own: the folder's name is a hash of all that
its bits depend on.
"""

import contextlib
import hashlib
import itertools
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Protocol

from torch import Tensor

from mnist_lstm import signals, tensorfile

_KEPT = 2  # so that there is another where the newest is damaged
_SHARE = 0.005  # of the time, at most, goes into saving within an epoch
_LONGEST = 50.0  # seconds between two checkpoints: a kill costs no more than a minute
_PARTS = ("params", "data", "code", "machine")


class Resumable(Protocol):
    """What can be saved between two steps, and gone back to."""

    place: str

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Return tensors, and what JSON can say."""

    def restore(self, tensors: dict[str, Tensor], about: dict) -> None:
        """Go back to where :meth:`state` was taken."""


def key(params: dict, data: list[Path], machine: str) -> str:
    """Return the name of what a run's bits depend on: a hash of each of ``_PARTS``.

    Args:
        params: all that the run reads of ``params.yaml``.
        data: the files that it reads.
        machine: what computes it, in words.
    """
    files = b"".join(_digest(path.read_bytes()) for path in data)
    parts = json.dumps(params, sort_keys=True).encode(), files, _code(), machine.encode()
    return "-".join(_digest(part).hex()[:12] for part in parts)


class Keeper:
    """Keeps a run's checkpoints; a context in which signals save before they end it."""

    def __init__(self, scratch: Path, key: str, run: Resumable):
        self.key = key
        self.folder = scratch / key
        self.run = run
        self.request = signals.Request()
        self.due = 0.0  # by time.monotonic()

    def __enter__(self) -> "Keeper":
        self.request.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.request.__exit__(*exception)

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one; say so, or why not."""
        saved = self._saved()
        for path in reversed(saved):
            try:
                tensors, about = tensorfile.load(path, writer="train")
                if about.pop("key", None) != self.key:
                    raise tensorfile.TensorFileError(f"{path}: of another run")
            except tensorfile.TensorFileError as error:
                print(f"warning: passing over a checkpoint: {error}", file=sys.stderr)
                path.unlink()
            else:
                self.run.restore(tensors, about)
                print(f"resuming from {self.run.place}", flush=True)
                return
        if saved:
            print("starting afresh: no checkpoint is whole", flush=True)
        elif changed := self._changed():
            print(
                f"starting afresh: {self.folder.parent}/ is of other {changed}", flush=True
            )

    def tick(self) -> None:
        """Save where it is time to, end where a signal asked to; call it between two steps.

        Raises:
            Stopped: once it is saved.
        """
        signum = self.request.signum
        if signum or time.monotonic() >= self.due:
            self.save()
        if signum:
            raise signals.Stopped(signum, f"the next run resumes from {self.run.place}")

    def save(self) -> None:
        """Save a checkpoint, whole or not at all, and forget the oldest.

        Raises:
            WriteError: no room; the checkpoints before it stay.
        """
        start = time.monotonic()
        tensors, about = self.run.state()
        saved = self._saved()
        number = int(saved[-1].stem) + 1 if saved else 0
        path = self.folder / f"{number:08}.safetensors"
        tensorfile.save(path, tensors, about | {"key": self.key})
        for old in self._saved()[:-_KEPT]:
            old.unlink()
        now = time.monotonic()
        self.due = now + min(_LONGEST, (now - start) / _SHARE)

    def remove(self) -> None:
        """Remove the checkpoints: the run has written its results.

        Raises:
            Stopped: a signal asked to end, so nothing is recorded; the checkpoints stay.
        """
        self.tick()
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):  # there are those of other runs
            self.folder.parent.rmdir()

    def _saved(self) -> list[Path]:
        """Return this run's checkpoints, the oldest first."""
        return sorted(self.folder.glob("[0-9]" * 8 + ".safetensors"))

    def _changed(self) -> str:
        """Return in which parts the key of the newest other run differs; "" without one."""
        others = [path for path in self.folder.parent.glob("*-*-*-*") if path.is_dir()]
        if not others:
            return ""
        newest = max(others, key=lambda path: path.stat().st_mtime)
        pairs = zip(newest.name.split("-"), self.folder.name.split("-"), strict=False)
        changed = [theirs != ours for theirs, ours in pairs]
        return ", ".join(itertools.compress(_PARTS, changed))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _code() -> bytes:
    """Return the source of the script that runs and of what it imported of this project."""
    names = sorted(name for name in sys.modules if name.startswith("mnist_lstm."))
    files = [getattr(sys.modules[name], "__file__", None) for name in ("__main__", *names)]
    return b"".join(Path(file).read_bytes() for file in files if file)
