"""Say in Markdown what the workspace changes against the commit BASE, and if it was run.

Usage: python tools/review.py BASE

It needs what both have in Git: no cache, no remote, no GPU. Where the workspace was not run
after its last change, there is no verdict, and the exit status is 1.
"""

import contextlib
import csv
import io
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
CLASSES = "plots/confusion.csv"  # actual and predicted class: a row a test image
TEST_IMAGES = "data/prepared/test.safetensors"
OWN = "own"  # the user's images, which Git need not hold
LARGEST = 60_000  # bytes; GitHub refuses a comment of more than 65,536 characters
LONGEST = 20  # names of a list

Classes = list[tuple[str, str]]


class Side(NamedTuple):
    """One of the two states that are compared, as Git holds it."""

    inputs: dict[str, list[str]]  # stage: the files, folders and parameters that it reads
    outputs: dict[str, str]  # what the stages wrote: its checksum in dvc.lock
    stale: dict[str, list[str]]  # stage that dvc.lock does not describe: what makes it so
    classes: Classes  # actual and predicted class of each test image


def main() -> None:
    """Print the report; end with status 1 where it holds no verdict."""
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/review.py BASE")
    base = find_commit(sys.argv[1])

    from dvc.exceptions import DvcException  # takes a second
    from dvc.repo import Repo

    try:
        with Repo(str(ROOT)) as repo:
            text, ran = report(repo, base)
    except DvcException as error:
        sys.exit(f"error: {error}")
    with contextlib.suppress(BrokenPipeError):  # as under `| head`
        print(text, flush=True)
    sys.exit(0 if ran else 1)


def find_commit(name: str) -> str:
    """Return the hash of the commit that ``name`` means; end where there is none."""
    command = ["git", "rev-parse", "--quiet", "--verify", "--end-of-options"]
    command.append(f"{name}^{{commit}}")
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if found.returncode != 0:
        unknown = (
            f"BASE={name!r} is not a known commit; name a branch, a tag or a commit "
            "(in a shallow clone, `git fetch --unshallow` first)"
        )
        sys.exit(f"error: {found.stderr.strip() or unknown}")
    return found.stdout.strip()


def report(repo: Any, base: str) -> tuple[str, bool]:
    """Return the report on ``repo`` against the commit ``base``, and if it has a verdict.

    Raises:
        DvcException: DVC cannot read one of the two.
    """
    from dvc.repo.brancher import switch

    files = changed_files(repo, base)  # first: it fetches what is missing
    new = look(repo)
    with switch(repo, base):
        old = look(repo)
    metrics = repo.metrics.diff(a_rev=base).get("diff", {})
    parameters = repo.params.diff(a_rev=base).get("diff", {})
    changed = files + [key for changes in parameters.values() for key in changes]
    against = f"Compared with commit {base[:10]}."
    if new.stale:
        return f"{not_run(new, changed)}\n\n{against}", False
    # In a commit, DVC counts own/README.md among the images.
    if stale := [name for name, causes in old.stale.items() if causes != [OWN]]:
        against += f" It was not run itself ({', '.join(stale)}): part may be its own."
    parts = [
        verdict(old, new, changed),
        against,
        figures(repo, base, moved(old, new)),
        f"## Metrics\n\n{table(metrics, 'Metric', base)}",
        f"## Parameters\n\n{table(parameters, 'Parameter', base)}",
    ]
    return shorten("\n\n".join(filter(None, parts)), base), True


# What Git and DVC hold


def changed_files(repo: Any, base: str) -> list[str]:
    """Return the files in which the workspace differs from ``base``.

    A clone without all files (``--filter=blob:none``) fetches, to count lines, those that
    it lacks; DVC would wait for them for ever.
    """
    counted = git(repo, "diff", "--numstat", "--no-renames", "-z", base, "--")
    names = [line.split("\t", 2)[2] for line in counted.split("\0")[:-1]]
    names += git(repo, "ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]
    ignored = repo.dvcignore.is_ignored_file
    return [name for name in names if not ignored(str(Path(repo.root_dir, name)))]


def git(repo: Any, *arguments: str) -> str:
    """Run git; return what it printed."""
    command = ["git", "-C", repo.root_dir, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def look(repo: Any) -> Side:
    """Return what ``repo`` holds, in the workspace or in the commit it is switched to."""
    side = Side({}, {}, {}, read_classes(repo.index.outs))
    kept = {out.def_path: out.hash_info for out in repo.index.outs if out.use_cache}
    for stage in repo.index.stages:
        name = getattr(stage, "name", stage.addressing)
        causes = ["dvc.yaml"] if getattr(stage, "cmd_changed", False) else []
        items = [*stage.deps, *stage.outs]
        ran = any(item.hash_info for item in items)
        causes += chain.from_iterable(out_of_date(item, kept) for item in items if ran)
        if causes or not ran:
            side.stale[name] = causes
        reads = [getattr(dep, "params", None) or [dep.def_path] for dep in stage.deps]
        side.inputs[name] = [*chain.from_iterable(reads)]
        written = [*stage.outs, *(dep for dep in stage.deps if dep.def_path == TEST_IMAGES)]
        side.outputs.update((item.def_path, item.hash_info.value) for item in written)
    return side


def out_of_date(item: Any, kept: dict[str, Any]) -> list[str]:
    """Return what dvc.lock has otherwise: the path of ``item``, or keys of parameters.

    What DVC keeps outside of Git (data, models) may be missing, or another commit's. There
    dvc.lock alone tells: a stage has to have read what the stage before it wrote.
    """
    path = item.def_path
    if not item.hash_info or (path in kept and item.hash_info != kept[path]):
        return [path]
    if any(within(folder, path) for folder in kept):
        return []  # of what lies in a folder, dvc.lock has the folder's checksum alone
    if path == OWN and not any(item.repo.dvcignore.find(item.fs, item.fs_path)):
        return []
    states = item.workspace_status().values()
    return [*chain.from_iterable(s if isinstance(s, dict) else [path] for s in states)]


def read_classes(outs: Any) -> Classes:
    """Return the table of actual and predicted classes; empty where there is none."""
    for out in outs:
        if out.def_path == CLASSES and out.exists:
            rows = list(csv.DictReader(io.StringIO(out.fs.read_text(out.fs_path))))
            if rows and {"actual", "predicted"} <= rows[0].keys():
                return [(row["actual"], row["predicted"]) for row in rows]
    return []


# The report


def not_run(new: Side, changed: list[str]) -> str:
    """Say which stages have to run, and what makes them."""
    lines = ["**Not run: `dvc repro`, then look again.** dvc.lock does not belong to:\n"]
    for stage, causes in new.stale.items():
        found = [[n for n in changed if within(cause, n)] or [cause] for cause in causes]
        names = [f"`{name}`" for name in chain.from_iterable(found)]
        lines.append(f"- {stage}: {listed(names) or 'it never ran'}")
    return "\n".join(lines)


def verdict(old: Side, new: Side, changed: list[str]) -> str:
    """Say which outputs moved, what that means, and what of ``changed`` a stage reads."""
    written = old.outputs.keys() | new.outputs.keys()
    read = [(name, readers(name, old, new)) for name in changed if name not in written]
    causes = listed([f"`{name}` ({', '.join(stages)})" for name, stages in read if stages])
    if outputs := moved(old, new):
        return (
            f"{compare(old, new)}\n\nChanged: {causes or 'nothing that a stage reads'}.\n\n"
            f"Outputs that moved: {listed([f'`{name}`' for name in outputs])}."
        )
    if not causes:
        return "No output moved, and nothing that a stage reads has changed."
    return (
        f"No output moved, though this changed: {causes}.\n\nEvery output is the same to "
        "the bit: the change alters nothing, or this run does not use it (a parameter may "
        "switch it off)."
    )


def compare(old: Side, new: Side) -> str:
    """Compare two models on the same test images by McNemar's exact test."""
    if not old.classes or not new.classes:
        return f"Test accuracy is not compared: {CLASSES} is missing on one side."
    if old.outputs.get(TEST_IMAGES) != new.outputs.get(TEST_IMAGES) or (
        [actual for actual, _ in old.classes] != [actual for actual, _ in new.classes]
    ):
        return "Test accuracy is not compared: the test images are not the same."
    pairs = zip(old.classes, new.classes, strict=True)
    right = [(a == b, a == c) for (a, b), (_, c) in pairs]
    before, after = (sum(column) / len(right) for column in zip(*right, strict=True))
    if old.classes == new.classes:
        return f"Test accuracy {after:.2%}, as before: each image is predicted the same."
    better, worse = right.count((False, True)), right.count((True, False))
    p = mcnemar(better, worse)
    return (
        f"Test accuracy {before:.2%} -> {after:.2%}: images newly right: {better:,}, newly "
        f"wrong: {worse:,}; exact McNemar {'p < 0.0001' if p < 1e-4 else f'p = {p:.2g}'}."
        "\n\np is about these two models on this test set. Another seed alone often moves "
        "as many images, so p does not say which way of training is better: several seeds "
        "of each do."
    )


def mcnemar(better: int, worse: int) -> float:
    """Return the two-sided p of McNemar's exact test: a binomial one on the changes."""
    from scipy.stats import binomtest  # takes a second

    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def table(changes: dict[str, Any], title: str, base: str) -> str:
    """Return DVC's own Markdown table of ``changes``."""
    from dvc.compare import show_diff

    style = {"markdown": True, "precision": 6, "round_digits": True, "a_rev": base[:10]}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        show_diff(changes, title, show_changes=title == "Metric", **style)
    return printed.getvalue().strip() if changes else "No change."


def figures(repo: Any, base: str, outputs: list[str]) -> str:
    """Return the figures that moved, old and new: shown on GitHub, named elsewhere."""
    names = [name for name in outputs if name.endswith(".png")]
    if not names:
        return ""
    lines = ["## Figures\n"]
    if not (repository := os.environ.get("GITHUB_REPOSITORY")):
        lines += [f"- {name}; before: `git show {base[:10]}:{name}`" for name in names]
        return "\n".join(lines)
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    head = os.environ.get("HEAD_SHA") or git(repo, "rev-parse", "HEAD").strip()
    lines += ["| Before | After |", "|---|---|"]
    for name in names:
        # ?raw=true, on GitHub's own host: whoever reads a private repository is logged in
        # there, and not at raw.githubusercontent.com.
        pages = [f"{server}/{repository}/blob/{commit}/{name}" for commit in (base, head)]
        shown = [f"[![{name}]({page}?raw=true)]({page})" for page in pages]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def moved(old: Side, new: Side) -> list[str]:
    """Return the outputs whose checksums differ, or that only one side has."""
    return sorted({path for path, _ in old.outputs.items() ^ new.outputs.items()})


def readers(name: str, old: Side, new: Side) -> list[str]:
    """Return the stages that read the file or the parameter ``name``."""
    if name == "dvc.yaml":
        return ["the pipeline"]
    inputs = [*new.inputs.items(), *old.inputs.items()]
    found = [stage for stage, paths in inputs if any(within(path, name) for path in paths)]
    return list(dict.fromkeys(found))


def within(path: str, name: str) -> bool:
    """Return whether ``name`` is ``path`` or lies in it: in a folder, or in a section."""
    in_section = "/" not in name and name.startswith(f"{path}.")
    return name == path or name.startswith(f"{path}/") or in_section


def listed(names: list[str]) -> str:
    """Return ``names`` in a sentence; the first ones, if they are many."""
    left = len(names) - LONGEST
    return ", ".join(names[:LONGEST] + ([f"{left} more"] if left > 0 else []))


def shorten(text: str, base: str) -> str:
    """Return ``text``, cut at the end of a line where a comment could not hold it."""
    if len(text.encode()) <= LARGEST:
        return text
    kept = text.encode()[:LARGEST].decode(errors="ignore").rpartition("\n")[0]
    commands = f"`dvc metrics diff {base[:10]}` and `dvc params diff {base[:10]}`"
    return f"{kept}\n\nCut here: {commands} print all."


if __name__ == "__main__":
    main()
