"""What a person can put right, and every sentence that says so.

The sentences stand here and not where they are raised, so that a better word reruns no
stage. Each says in one line what was found, where, and what to do.
"""

import errno
import os
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
    def of(cls, key: str, allowed: str, got: str, source: str = "params.yaml") -> Self:
        """``key`` holds ``got``, which is not ``allowed``."""
        return cls(f"{source}: {key} must be {allowed}, got {got}")

    @classmethod
    def unknown(cls, source: str, key: str, got: str, near: str, known: list[str]) -> Self:
        """There is no such ``key``; ``near`` is the most like it, or ""."""
        hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
        return cls(f"{source}: {key} is not a parameter, got {got} ({hint})")

    @classmethod
    def missing(cls, source: str, key: str, allowed: str) -> Self:
        """There is no ``key``."""
        return cls(f"{source}: {key} is missing, must be {allowed}")

    @classmethod
    def absent(cls, path: Path) -> Self:
        """There is no file."""
        return cls(f"{path}: No such file or directory; run this from the project's root")

    @classmethod
    def unreadable(cls, path: Path, reason: str | None) -> Self:
        """The file cannot be read."""
        return cls(f"{path}: {reason}")

    @classmethod
    def not_yaml(cls, source: object, error: object) -> Self:
        """The file is not YAML."""
        return cls(f"{source}: not YAML: {one_line(error)}")

    @classmethod
    def empty(cls, path: Path) -> Self:
        """The file holds nothing: DVC, which writes it in place, may have been killed."""
        return cls(f"{path}: empty; `git checkout HEAD -- {path}` takes the committed one")

    @classmethod
    def too_long(cls, source: object, length: int, most: int) -> Self:
        """The file, or a line of it, is none that a person wrote."""
        what = f"{length:,} characters, in the file or a line"
        return cls(f"{source}: {what}, are more than the {most:,} allowed")

    @classmethod
    def merge_key(cls, source: object, line: int) -> Self:
        """A mapping is to be merged into another: a few lines of these never end."""
        return cls(f"{source}: line {line}: `<<` is not read here; write the values out")

    @classmethod
    def no_cuda(cls, got: str, reason: str) -> Self:
        """CUDA is asked for where PyTorch finds none, for this ``reason``."""
        fits = f"auto or cpu: {reason}"
        return cls.of("train.device", fits, repr(got))

    @classmethod
    def no_bf16(cls, got: str, reason: str) -> Self:
        """bf16 is asked for where it is not, for this ``reason``."""
        fits = f"auto or fp32: {reason}"
        return cls.of("train.precision", fits, repr(got))

    @classmethod
    def shards(cls, fits: str, got: int) -> Self:
        """The workers cannot share the shards of a batch."""
        return cls.of("train.shards", fits, str(got))

    @classmethod
    def valid_size(cls, n_class: int, n_train: int, got: int) -> Self:
        """The validation split has no room for every class, or leaves none."""
        most = n_train - n_class
        fits = f"0 or from {n_class} to {most} for {n_train} train images"
        return cls.of("prepare.valid_size", fits, str(got))

    @classmethod
    def one_image(cls, names: Sequence[object], got: int) -> Self:
        """Classes with a single train image: it cannot be in both splits."""
        some = ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
        which = f"class {some} has" if len(names) == 1 else f"classes {some} have"
        return cls.of("prepare.valid_size", f"0, for {which} one train image", str(got))


class ImageFolderError(UserError):
    """Own images that cannot be trained on: what is wrong, a line each."""

    @classmethod
    def all(cls, problems: Sequence[Self], most: int = 20) -> Self:
        """Several ``problems`` at once, at ``most`` so many in full."""
        lines = [str(problem) for problem in problems[:most]]
        if len(problems) > most:
            lines.append(f"and {len(problems) - most:,} more")
        return cls(*lines)

    @classmethod
    def not_utf8(cls, path: Path) -> Self:
        """A name that DVC does not read; its own error says not which."""
        return cls(
            f"{path}: DVC reads names in UTF-8 alone; rename it (or all, as "
            "`convmv -r -f cp437 -t utf8 own` shows, if the ZIP is from Windows)"
        )


class TensorFileError(UserError):
    """A file of tensors that is missing or damaged."""


class ModelError(UserError):
    """A model file of other parameters or another form."""

    @classmethod
    def missing(cls, path: Path) -> Self:
        """No such file."""
        return cls(
            f"{path}: no model there; `make repro` trains one, `dvc pull` fetches it"
        )

    @classmethod
    def other_params(cls, path: Path, found: dict, expected: dict) -> Self:
        """A model of other parameters than params.yaml has; names those that differ."""
        differ = [key for key, value in expected.items() if found.get(key) != value]
        differ += sorted(found.keys() - expected.keys())
        pairs = [
            ", ".join(f"{key} {values.get(key, 'missing')}" for key in differ)
            for values in (found, expected)
        ]
        return cls(
            f"{path}: holds a model of {pairs[0]}, params.yaml asks for {pairs[1]}; "
            "`dvc repro` trains it"
        )

    @classmethod
    def not_a_model(cls, path: Path) -> Self:
        """Other tensors."""
        return cls(f"{path}: not a model; the stage `train` writes it")

    @classmethod
    def other_form(cls, path: Path, name: str, found: str, expected: str) -> Self:
        """A weight that is missing, too many, or of another type or shape."""
        return cls(f"{path}: {name} is {found}, expected {expected}")

    @classmethod
    def not_finite(cls, path: Path, what: str) -> Self:
        """Weights, or what follows from them, that are no numbers."""
        return cls(f"{path}: {what} not finite; `dvc repro --force train` trains it again")


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
    """A picture that cannot be classified. The message leaves its name to the caller."""

    @classmethod
    def missing(cls) -> Self:
        """No such file."""
        return cls("no such file")

    @classmethod
    def folder(cls) -> Self:
        """A folder."""
        return cls("a folder; name the pictures in it")

    @classmethod
    def unreadable(cls, reason: object) -> Self:
        """The file cannot be read."""
        return cls(f"cannot read it: {one_line(reason)}")

    @classmethod
    @classmethod
    def too_long(cls, most: int) -> Self:
        """More bytes than any picture of the size allowed needs."""
        return cls(f"more than {most // 2**20} MB, which no picture is")


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


class BusyError(UserError):
    """Another process does the same."""

    @classmethod
    def of(cls, place: Path) -> Self:
        """``place`` is the script that runs, or the folder that is written to."""
        return cls(
            f"{place}: another process is at work there; wait until it ends, or end it, "
            "then run this again"
        )


class RefusedError(UserError):
    """What the system refuses: no room, no permission, a folder in a file's place."""

    @classmethod
    def of(cls, error: OSError, place: object = None) -> Self:
        """The system's ``error``, at ``place`` or where the error says that it is."""
        where: Any = place or error.filename2 or error.filename
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            where = _no_folder(Path(where))
        elif where is None and error.errno in _OF_STREAMS:
            where = "standard output"  # it has no file name
        reason = error.strerror or str(error)
        return cls(": ".join(map(str, filter(None, (where, reason)))) + _advice(error))

    @classmethod
    def link(cls, path: Path) -> Self:
        """A symbolic link where DVC keeps an output, which it does not follow."""
        return cls(
            f"{path}: a symbolic link, and DVC keeps no output behind one; remove it, and "
            "for another disk move the whole project there"
        )

    @classmethod
    def irregular(cls, path: Path) -> Self:
        """A device, a pipe or a socket where a file is to be written."""
        return cls(f"{path}: not a regular file; name another")


class UnfitFileError(OSError):
    """A file that the system would read, for ever or until memory runs out."""

    @classmethod
    def irregular(cls, path: Path) -> Self:
        """A pipe, a device, a socket: it may never end."""
        return cls(errno.EINVAL, "not a regular file", str(path))

    @classmethod
    def too_big(cls, path: Path, size: int, most: int) -> Self:
        """More bytes than such a file has."""
        found = f"{size:,} bytes are more than the {most:,} allowed"
        return cls(errno.EINVAL, found, str(path))

    @classmethod
    def no_memory(cls, path: Path, size: int) -> Self:
        """More bytes than memory has room for."""
        return cls(errno.EINVAL, f"out of memory: it has {size:,} bytes", str(path))


def _no_folder(path: Path) -> Path:
    """Return what keeps ``path`` from being a folder: itself, or something above it."""
    above = [*reversed(path.parents), path]
    return next((p for p in above if os.path.lexists(p) and not p.is_dir()), path)


def _advice(error: OSError) -> str:
    advice = _ADVICE.get(error.errno or 0)
    return f"; {advice}" if advice else ""


_OF_STREAMS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_NO_ROOM = "make room, then run this again"
_NO_FOLDER = "what stands there is no folder; move it away"
_ADVICE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EISDIR: "a folder stands in the place of a file; move it away",
    errno.ENOTEMPTY: "something else writes there; end it, then run this again",
    errno.EACCES: "change its permissions or its owner",
    errno.EPERM: "change its permissions or its owner",
    errno.EROFS: "mount the file system so that it can be written to",
    errno.ELOOP: "symbolic links lead in a circle there; remove them",
    errno.EMFILE: "raise the limit: `ulimit -n 4096`",
    errno.EPIPE: "what read it has ended; send it to a file",
    errno.EIO: "look at the disk, or the network that it is on",
    errno.ESTALE: "look at the network that the disk is on",
}


class VariableError(UserError):
    """A variable of the environment that holds what it cannot."""

    @classmethod
    def number(cls, name: str, most: int, got: str) -> Self:
        """No number from 1 to ``most``."""
        found = printable(repr(got), 40)
        return cls(f"{name} must be a number from 1 to {most}, got {found}")


class ClosedError(UserError):
    """What a program prints would be lost."""

    @classmethod
    def output(cls) -> Self:
        """Standard output is closed, and what is printed there is all that comes of it."""
        return cls("standard output is closed; send it to a file or a terminal")


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


class MemoryExhaustedError(UserError):
    """More memory was asked for than the device has."""

    @classmethod
    def of(cls, device: str, lower: dict[str, object]) -> Self:
        """``lower`` has the parameters that it depends on, with their values."""
        *most, last = [f"{key} ({value})" for key, value in lower.items()] or ["", ""]
        advice = f"; lower {', '.join(most)} or {last} in params.yaml" if last else ""
        return cls(f"{device}out of memory{advice}")


def one_line(reason: object, length: int = 1000) -> str:
    """Return what another program said as one line."""
    return printable(" ".join(str(reason).split()), length)


def printable(text: object, length: int = 1000) -> str:
    """Return ``text`` as one line that a terminal shows as it is, cut to ``length``."""
    start = str(text)[: length + 1]
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return line if len(line) <= length else line[: length - 3] + "..."
