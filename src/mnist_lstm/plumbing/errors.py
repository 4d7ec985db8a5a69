"""What a person can put right: said in one line, by what was found, where, what to do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self


class UserError(Exception):
    """Bad input: says what was found, where, and what to do.

    Each argument is a line, whatever a file or a server put into it: it cannot forge
    another, nor move the cursor.
    """

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in self.args)


class ParamsError(UserError):
    """``params.yaml`` is missing, is not YAML, or holds a value that does not fit."""

    @classmethod
    def of(cls, key: str, allowed: str, got: object) -> Self:
        """``key`` holds ``got``, which is not ``allowed``."""
        return cls(f"params.yaml: {key} must be {allowed}, got {got!r}")


class TensorFileError(UserError):
    """A file of tensors that is missing or damaged."""


class ExportError(UserError):
    """A model that a format has no room for."""

    @classmethod
    def too_big(cls, path: Path, size: int, most: int) -> Self:
        """More bytes of weights than a file of the format holds."""
        return cls(
            f"{path}: {size:,} bytes of weights, ONNX has room for {most:,}; "
            "lower model.hdim or model.n_layer in params.yaml"
        )


class PictureError(UserError):
    """A picture that cannot be read. The message leaves its name to the caller."""


class PageError(UserError):
    """The source of the page does not fit together."""

    @classmethod
    def missing(cls, path: Path) -> Self:
        """No such file."""
        return cls(f"{path}: no such file; the page is made of it")

    @classmethod
    def lacks(cls, path: Path, tag: str) -> Self:
        """The place where something is put in."""
        return cls(f"{path}: must have {tag} once")

    @classmethod
    def ends_itself(cls, path: Path, tag: str) -> Self:
        """Code that would end the tag it is put into."""
        return cls(f"{path}: must not have </{tag} in it, not even in a string")


class DivergedError(UserError):
    """A loss or a weight that is no finite number."""

    @classmethod
    def loss(cls, epoch: int, step: int, value: float, params: Mapping) -> Self:
        """The loss of a step is not finite."""
        return cls.of(epoch, f"step {step}: the loss is {value}", params)

    @classmethod
    def weights(cls, epoch: int, step: int, params: Mapping) -> Self:
        """The weights are not finite."""
        return cls.of(epoch, f"step {step}: the weights are not finite", params)

    @classmethod
    def evaluation(cls, epoch: int, split: str, value: float, params: Mapping) -> Self:
        """The loss of a split is not finite."""
        return cls.of(epoch, f"evaluation: the {split} loss is {value}", params)

    @classmethod
    def of(cls, epoch: int, found: str, params: Mapping) -> Self:
        """What was ``found`` in an epoch of a run with ``params``, and what to do."""
        lower = " or ".join(f"{key} ({value:g})" for key, value in _suspects(params))
        return cls(
            f"epoch {epoch}, {found}: training diverged; lower {lower} in params.yaml"
        )


def _suspects(params: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return what may have made a run diverge, the most likely first."""
    train = params["train"]
    lr, decay = train["lr"], train["weight_decay"]
    final = train["final_lr"] if train["schedule"] == "one_cycle" else 0
    muon_lr = train["muon_lr"] if train["optimizer"] == "muon" else 0
    found = [("train.lr", lr)]
    if muon_lr:
        found.insert(0, ("train.muon_lr", muon_lr))
    if final > lr:
        found.insert(0, ("train.final_lr", final))
    # a step multiplies the weights by 1 minus that
    if max(lr, muon_lr) * max(1, final / lr) * decay > 1:
        found.insert(0, ("train.weight_decay", decay))
    return found


class WorkersError(UserError):
    """Of the processes that train together, one fails, or does not fit the others."""

    @classmethod
    def lost(cls) -> Self:
        """Another process is gone, or does not answer."""
        return cls(
            "another worker is gone, or does not answer; run the same again, on any number "
            "of workers: training goes on from where it is"
        )

    @classmethod
    def failed(cls, rank: int, host: str, wrong: Sequence[object]) -> Self:
        """A worker cannot begin."""
        return cls(*(f"worker {rank} on {host}: {line}" for line in wrong))

    @classmethod
    def differs(cls, rank: int, host: str, what: Sequence[str]) -> Self:
        """A worker would compute something else than worker 0."""
        names = " and ".join(what)
        return cls(
            f"worker {rank} on {host} has other {names} than worker 0; give every host the "
            "same commit, data and packages, and the same kind of processor"
        )


def one_line(reason: object, length: int = 1000) -> str:
    """Return what another program said as one line."""
    return printable(" ".join(str(reason).split()), length)


def printable(text: object, length: int = 1000) -> str:
    """Return ``text`` as one line that a terminal shows as it is, cut to ``length``."""
    start = str(text)[: length + 1]
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return line if len(line) <= length else line[: length - 3] + "..."
