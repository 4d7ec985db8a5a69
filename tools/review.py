"""Say in Markdown what the workspace changes against the commit BASE, and if it was run.

Usage: python tools/review.py BASE [HTML]

HTML is a file to write: the report with all figures. What is compared is what both have in
Git: no cache, no remote, no GPU. Where the workspace was not run after its last change,
there is no verdict, and the exit status is 1.
"""

import contextlib
import io
import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_lstm.runs import read_table
from same import recorded
from seeds import ROWS
from trees import both, code_of, find_commit, git, params_of, working_tree
from verdict import CLASSES, TEST_IMAGES, Side, moved, not_run, verdict, within

OWN = "own"  # the user's images, which Git need not hold
RUNS = ROWS, Path("benchmarks/results/runs.csv")  # what tells how far seeds are apart
LARGEST = 60_000  # characters; GitHub refuses a comment of more than 65,536


def main() -> None:
    """Print the report; end with status 1 where it holds no verdict."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python tools/review.py BASE [HTML]")
    base, html = find_commit(sys.argv[1]), "".join(sys.argv[2:])

    from dvc.exceptions import DvcException  # takes a second

    try:
        text, ran = report(base, html)
    except DvcException as error:
        sys.exit(f"error: {error}")
    print(text)
    sys.exit(0 if ran else 1)


def report(base: str, html: str = "") -> tuple[str, bool]:
    """Return the report on the workspace against ``base``, and if it has a verdict."""
    from dvc.repo import Repo
    from dvc.repo.brancher import switch

    with Repo() as repo:
        tree = working_tree()
        changed = changed_files(repo, base, tree)  # first: it fetches what is missing
        classes = both(base, CLASSES)
        new = look(repo, tree, classes.get("here"))
        with switch(repo, base):
            old = look(repo, base, classes.get("base"))
        metrics = repo.metrics.diff(a_rev=base).get("diff", {})
        parameters = repo.params.diff(a_rev=base).get("diff", {})
    changed += [key for changes in parameters.values() for key in changes]
    against = f"Compared with commit {base[:10]}."
    shown = ""
    if new.stale:
        parts = [not_run(new, changed), against]
    else:
        # In a commit, DVC counts own/README.md among the images.
        if stale := [name for name, causes in old.stale.items() if causes != [OWN]]:
            against += f" It was not run itself ({', '.join(stale)}): part may be its own."
        proven = {path for md5, path in recorded()}
        shown = figures(base, moved(old, new))
        parts = [
            verdict(old, new, changed, runs(), proven),
            against,
            shown,
            f"## Metrics\n\n{table(metrics, 'Metric', base)}",
            f"## Parameters\n\n{table(parameters, 'Parameter', base)}",
        ]
    if html:
        import review_page  # matplotlib takes a second

        text = "\n\n".join(part for part in parts if part != shown)
        Path(html).write_text(review_page.page(repo, base, text, old, new), "utf-8")
    return shorten("\n\n".join(filter(None, parts)), base), not new.stale


# What Git and DVC hold


def changed_files(repo: Any, base: str, tree: str) -> list[str]:
    """Return the files in which ``tree`` differs from ``base``.

    A clone without all files (``--filter=blob:none``) fetches, to count lines, those that
    it lacks; DVC would wait for them for ever.
    """
    counted = git("diff", "--numstat", "--no-renames", "-z", base, tree)
    names = [line.split("\t", 2)[2] for line in counted.split("\0")[:-1]]
    ignored = repo.dvcignore.is_ignored_file
    return [name for name in names if not ignored(str(Path(name).absolute()))]


def runs() -> pd.DataFrame:
    """Return the training runs that are committed."""
    columns = ["params", "code", "split", "seed", "accuracy"]
    tables = [read_table(path).reindex(columns=columns) for path in RUNS if path.exists()]
    return pd.concat(tables or [pd.DataFrame(columns=columns)], ignore_index=True)


def look(repo: Any, tree: str, file: Path | None) -> Side:
    """Return what ``tree`` of Git's holds, and ``repo``, which is switched to it.

    ``file``: its table of actual and predicted classes, if there is one.
    """
    params = params_of(tree)
    # A class may be 1, or named NA.
    classes = pd.read_csv(file, dtype=str, na_filter=False) if file else pd.DataFrame()
    side = Side({}, {}, {}, classes, params, code_of(tree, params))
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


# The report


def table(changes: dict[str, Any], title: str, base: str) -> str:
    """Return DVC's own Markdown table of ``changes``."""
    from dvc.compare import show_diff

    style = {"markdown": True, "precision": 6, "round_digits": True, "a_rev": base[:10]}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        show_diff(changes, title, show_changes=title == "Metric", **style)
    return printed.getvalue().strip() if changes else "No change."


def figures(base: str, outputs: list[str]) -> str:
    """Return the figures that moved, old and new: shown on GitHub, as files elsewhere."""
    names = [name for name in outputs if name.endswith(".png")]
    if not names:
        return ""
    lines = ["## Figures\n", "| Before | After |", "|---|---|"]
    repository = os.environ.get("GITHUB_REPOSITORY")
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    head = os.environ.get("HEAD_SHA") or git("rev-parse", "HEAD").strip()
    for name in names:
        if repository:
            # ?raw=true, on GitHub's own host: whoever reads a private repository is logged
            # in there, and not at raw.githubusercontent.com.
            pages = [f"{server}/{repository}/blob/{c}/{name}" for c in (base, head)]
            shown = [f"[![{name}]({page}?raw=true)]({page})" for page in pages]
        else:
            paths = both(base, name)
            shown = [f"`{paths.get(side, 'none')}`" for side in ("base", "here")]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def shorten(text: str, base: str) -> str:
    """Return ``text``, cut at the end of a line where a comment could not hold it."""
    if len(text) <= LARGEST:
        return text
    commands = f"`dvc metrics diff {base[:10]}` and `dvc params diff {base[:10]}`"
    kept, _, _ = text[:LARGEST].rpartition("\n")
    return f"{kept}\n\nCut here: {commands} print all."


if __name__ == "__main__":
    main()
