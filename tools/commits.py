"""What a commit and the workspace hold, as git and DVC tell it.

A tool that fails, waits too long or reads a damaged file gave no answer: each of these is a
`ReviewError`, so that "I could not look" never reads like "nothing has changed".
"""

import contextlib
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML  # DVC's own reader
from ruamel.yaml.error import MarkedYAMLError

ROOT = Path(__file__).resolve().parent.parent
PIPELINE, LOCK, PARAMS = "dvc.yaml", "dvc.lock", "params.yaml"
_READING = 30  # seconds that a file may take: 10 MB of YAML take 6, a bomb of merges hours
_LARGEST = 64 * 2**20  # bytes of a file
_MARKER = re.compile(rb"(<{7}|\|{7}|>{7})( .*)?|={7}")  # of a conflict, as git writes them


class ReviewError(Exception):
    """The review cannot be made: the message says in one line why, and what to do."""


class Answer(NamedTuple):
    """What a command that ended told."""

    status: int
    out: bytes
    err: str


def printable(text: str, longest: int = 300) -> str:
    """Return ``text`` as one line of characters that a terminal shows as they are.

    Line breaks, escapes and marks that turn the direction of writing become escapes.
    """
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def limit() -> int:
    """Return how many seconds git or DVC may take: REVIEW_TIMEOUT, else 300."""
    given = os.environ.get("REVIEW_TIMEOUT") or "300"
    if not re.fullmatch("[1-9][0-9]{0,5}", given):
        raise ReviewError(f"REVIEW_TIMEOUT={printable(given, 60)} is no number of seconds")
    return int(given)


def run(*command: str, stdin: bytes = b"", **env: str) -> Answer:
    """Run ``command`` in the project, for `limit` seconds at most."""
    try:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # no terminal to ask for a password; killed as a group
        )
    except OSError as error:
        raise ReviewError(f"cannot run `{command[0]}`: {error.strerror}") from None
    with process:
        try:
            out, err = process.communicate(stdin, timeout=limit())
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ReviewError(_too_long(command)) from None
            raise
    return Answer(process.returncode, out, err.decode(errors="backslashreplace"))


def _too_long(command: tuple[str, ...]) -> str:
    name = "git" if command[0] == "git" else "dvc"
    words = command[command.index(name) :]
    return (
        f"`{printable(' '.join(words), 60)}` was stopped after {limit()} seconds; "
        "REVIEW_TIMEOUT=SECONDS gives it longer"
    )


def git(*arguments: str, stdin: bytes = b"") -> bytes:
    """Run git; return what it printed."""
    answer = run("git", *arguments, stdin=stdin, LC_ALL="C", GIT_TERMINAL_PROMPT="0")
    if answer.status != 0:
        raise ReviewError(_advice(answer.err, f"`git {arguments[0]}`"))
    return answer.out


def _advice(said: str, command: str) -> str:
    """Say in one line why git could not look, and what to do where that is known."""
    if "not a git repository" in said:
        return (
            "this folder is no git repository (GitHub's ZIP has no history): "
            "`git clone` the project"
        )
    if "dubious ownership" in said:
        folder = printable(shlex.quote(str(ROOT)))
        return (
            "git refuses this repository, which belongs to another user; if you trust it: "
            f"git config --global --add safe.directory {folder}"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.lower().startswith(("fatal: ", "error: "))]
    why = (fatal or lines or ["it gave no reason"])[-1]
    return f"{command} failed: {printable(re.sub('(?i)^(fatal|error): ', '', why))}"


def dvc(*arguments: str) -> Answer:
    """Run the DVC of this environment; the caller judges how it ended."""
    # -P: no module of the project's root stands in for one of DVC's.
    return run(sys.executable, "-P", "-m", "dvc", *arguments)


def dvc_diff(kind: str, base: "Commit", workspace: "Workspace") -> dict[str, Any]:
    """Return what ``dvc KIND diff --json`` tells: {file: {key: {old, new, diff}}}."""
    answer = dvc(kind, "diff", "--json", base.sha)
    command = f"`dvc {kind} diff`"
    if answer.status != 0:
        raise ReviewError(_advice(answer.err, command))
    # The status is 0 also where a file is damaged, or missing as before a first run.
    for side, revision in ((base, base.sha), (workspace, "workspace")):
        unread = re.search(f"DVC failed to load .*'[^']*\\b{revision}\\b", answer.err)
        if unread and all(side.read(file) is not None for file in _files(side, kind)):
            raise ReviewError(
                f"{command} could not read {side}; `dvc repro --dry` may say why"
            )
    try:
        return dict(json.loads(answer.out))
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"{command} printed no JSON: {printable(str(error))}") from None


def require_repository() -> None:
    """Refuse a folder that is not the root of a git repository which git will read."""
    top = os.fsdecode(git("rev-parse", "--show-toplevel").removesuffix(b"\n"))
    if not ROOT.samefile(top):
        raise ReviewError(
            f"this folder is no git repository of its own, it lies in {printable(top)}: "
            "`git clone` the project"
        )


def find_commit(name: str, called: str) -> str:
    """Return the hash of the commit that ``name`` means; ``called`` is for the message.

    The name goes to git by standard input, where nothing in it is an option or a pattern.
    """
    if "\n" not in name:
        told = git("cat-file", "--batch-check", stdin=os.fsencode(name) + b"^{commit}\n")
        if found := re.fullmatch(rb"([0-9a-f]{40,64}) commit \d+\n", told):
            return found[1].decode()
    shallow = git("rev-parse", "--is-shallow-repository") == b"true\n"
    hint = "; this clone is shallow, `git fetch --unshallow` fetches the rest"
    raise ReviewError(
        f"{called}={printable(name, 100)} is not a known commit; "
        f"name a branch, a tag or a commit{hint if shallow else ''}"
    )


def fetch_missing(sha: str) -> None:
    """Let a partial clone fetch the files of commit ``sha`` that it lacks.

    DVC would wait for them for ever.
    """
    git("diff", "--numstat", "--no-ext-diff", "--no-textconv", sha, "--")


class Side:
    """The files of one of the two states that are compared."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def read(self, path: str) -> bytes | None:
        """Return the bytes of file ``path``; None where there is no such file."""
        raise NotImplementedError

    def load(self, path: str) -> Any:
        """Return what the YAML or JSON file ``path`` holds; None where there is none."""
        if path not in self._loaded:
            text = self.text(path)
            try:
                with _time_limit():
                    self._loaded[path] = None if text is None else _parse(path, text)
            except ReviewError as error:
                raise ReviewError(f"{printable(path)} in {self}, {error}") from None
        return self._loaded[path]

    def text(self, path: str) -> str | None:
        """Return the text of ``path``, which may hold no conflict."""
        data = self.read(path)
        if data is None:
            return None
        for number, line in enumerate(data.split(b"\n"), 1):
            if _MARKER.fullmatch(line.rstrip(b"\r")):
                raise ReviewError(
                    f"{printable(path)} in {self}, line {number}: conflict marker; "
                    f"resolve the conflict and commit, or name another BASE"
                )
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start) + 1
            raise ReviewError(
                f"{printable(path)} in {self}, line {number}: no UTF-8; "
                "correct it, or restore it from git"
            ) from None


class Commit(Side):
    """A commit of this repository; ``sha`` is its hash."""

    def __init__(self, sha: str):
        super().__init__()
        self.sha = sha

    def __str__(self) -> str:
        return f"commit {self.sha[:10]}"

    @cached_property
    def blobs(self) -> dict[str, str]:
        """The hash of each regular file."""
        listed = git("ls-tree", "-r", "-z", "--full-tree", self.sha).split(b"\0")[:-1]
        entries = [entry.split(b"\t", 1) for entry in listed]
        return {
            os.fsdecode(path): head.split()[2].decode()
            for head, path in entries
            if head.startswith(b"100")
        }

    def read(self, path: str) -> bytes | None:
        """Return the bytes of file ``path``; None where there is no such file."""
        blob = self.blobs.get(path)
        return None if blob is None else git("cat-file", "blob", blob)


class Workspace(Side):
    """The files as they lie in the project's folder."""

    def __str__(self) -> str:
        return "the workspace"

    def read(self, path: str) -> bytes | None:
        """Return the bytes of file ``path``; None where there is no such file."""
        file = ROOT / path
        try:
            found = file.stat()
            if not stat.S_ISREG(found.st_mode):  # a FIFO would make its reader wait
                raise ReviewError(f"{printable(path)} in {self} is no regular file")
            if found.st_size > _LARGEST:
                raise ReviewError(f"{printable(path)} in {self} is larger than 64 MiB")
            return file.read_bytes()
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no path
            return None
        except OSError as error:
            raise ReviewError(f"{printable(path)} in {self}: {error.strerror}") from None


def check(side: Side) -> None:
    """Refuse a side with a file that DVC would take for empty, as it stops at no error."""
    for file in sorted({PIPELINE, LOCK, *_files(side, "metrics"), *_files(side, "params")}):
        side.load(file)
    lock = side.load(LOCK)
    if side.read(LOCK) is not None and not isinstance(lock, dict):
        raise ReviewError(
            f"{LOCK} in {side}, line 1: no table of stages; restore it from git"
        )


def _files(side: Side, kind: str) -> set[str]:
    """Return the files of ``kind`` (``metrics`` or ``params``) that ``dvc.yaml`` names."""
    pipeline = mapping(side.load(PIPELINE))
    found = {PARAMS} if kind == "params" else set()
    found |= {name for name in sequence(pipeline.get(kind)) if isinstance(name, str)}
    for written in mapping(pipeline.get("stages")).values():
        stage = mapping(written)
        for entry in sequence(mapping(stage.get("do", stage)).get(kind)):  # do: of foreach
            if isinstance(entry, dict):
                found |= {name for name in entry if isinstance(name, str)}
            elif isinstance(entry, str) and kind == "metrics":  # of params: a key
                found.add(entry)
    return {name for name in found if name.endswith((".yaml", ".yml", ".json"))}


def mapping(value: Any) -> dict[Any, Any]:
    """Return ``value`` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """Return ``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _parse(path: str, text: str) -> Any:
    """Return what YAML or JSON ``text`` holds; raise a ReviewError that names the line."""
    try:
        if path.endswith(".json"):
            return json.loads(text)
        return YAML(typ="safe").load(text)
    except json.JSONDecodeError as error:
        why = f"line {error.lineno}: no JSON ({error.msg})"
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        why = f"line {line}: no YAML ({printable(str(error.problem))})"
    except ReviewError:
        raise
    except RecursionError:
        why = "line 1: nested too deeply"
    except Exception as error:  # the reader raises what it happens to meet
        why = f"line 1: {printable(str(error))}"
    raise ReviewError(f"{why}; correct it, or restore it from git")


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise ReviewError(f"reading it takes more than {_READING} seconds; make it simpler")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _READING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
