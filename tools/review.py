"""Print in Markdown what the workspace changes against the commit BASE.

Usage: python tools/review.py BASE

It needs what both have in Git: no cache, no remote, no GPU. On GitHub it also shows the
figures. What the files hold may be hostile: it is printed as code, cut short.
"""

import csv
import io
import json
import os
import re
import signal
import sys
from collections.abc import Iterable
from typing import Any

from commits import (
    LOCK,
    Commit,
    ReviewError,
    Side,
    Workspace,
    check,
    dvc,
    dvc_diff,
    fetch_missing,
    find_commit,
    mapping,
    printable,
    require_repository,
    sequence,
)

CLASSES = "plots/confusion.csv"  # actual and predicted class: a row a test image
TEST_IMAGES = "data/prepared/test.safetensors"
FIGURES = ("learning_curve", "confusion", "mistakes")
CELL = 60  # characters of a cell
ROWS = 100  # of a table
STAGES = 20  # of the list of those that would run
# Bytes of a table. GitHub refuses a comment above 65,536 characters; two tables and all
# that stands around them come to less than 60,000 bytes.
PART = 22_000

Rows = list[list[str]]
Predictions = list[tuple[str, str]]


def main() -> None:
    """Print the report; end in one line where it cannot be made."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so end what runs, too
    try:
        if len(sys.argv) != 2:
            raise ReviewError("usage: python tools/review.py BASE")
        if sys.stdout is None:
            raise ReviewError("standard output is closed, so the report has no reader")
        print_bytes(report(sys.argv[1]).encode(errors="backslashreplace"))
    except ReviewError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        if sys.stderr:  # else print would take standard output
            print("interrupted", file=sys.stderr)
        sys.exit(130)


def print_bytes(data: bytes) -> None:
    """Write ``data`` to standard output, in UTF-8 whatever the locale."""
    try:
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]
    except OSError as error:
        raise ReviewError(f"cannot print the report: {error.strerror}") from None


def report(name: str) -> str:
    """Return the whole report against the commit that ``name`` means."""
    require_repository()
    base, workspace = Commit(find_commit(name, "BASE")), Workspace()
    check(workspace)
    fetch_missing(base.sha)
    check(base)
    parts = [
        verdict(base, workspace),
        f"Compared with {code(name)}, {base}.",
        f"## Metrics\n\n{metrics(base, workspace)}",
        f"## Parameters\n\n{parameters(base, workspace)}",
        f"## {LOCK}\n\n{lock_state()}",
        figures(base),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


# Does the change matter?


def verdict(base: Side, workspace: Side) -> str:
    """Say whether the two models differ on the test images, and what that means."""
    found = []
    for side in (base, workspace):
        classes = predictions(side)
        if classes is None:
            return f"Test accuracy is not compared: {side} has no {CLASSES}."
        images = test_images(side)
        if not images:
            return f"Test accuracy is not compared: no {TEST_IMAGES} in {LOCK} of {side}."
        found.append((classes, images))
    (old, old_images), (new, new_images) = found
    other = "Nothing is compared: the two commits have different test images"
    if old_images != new_images:
        return f"{other} ({TEST_IMAGES} in {LOCK})."
    if [actual for actual, _ in old] != [actual for actual, _ in new]:
        return f"{other} (the column `actual` of {CLASSES})."
    return compare(old, new)


def compare(old: Predictions, new: Predictions) -> str:
    """Compare two models on the same images by McNemar's exact test."""
    if not new:
        return f"Test accuracy is not compared: {CLASSES} has no rows."
    right = [(a == b, a == c) for (a, b), (_, c) in zip(old, new, strict=True)]
    better, worse = right.count((False, True)), right.count((True, False))
    before, after = (sum(column) / len(right) for column in zip(*right, strict=True))
    accuracy = f"Test accuracy {before:.2%} -> {after:.2%}:"
    if better + worse == 0:
        return f"{accuracy} no image newly right or wrong, so there is nothing to test."
    p = mcnemar(better, worse)
    chance = "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
    return (
        f"{accuracy} {count(better, 'image')} newly right, {worse:,} newly wrong; "
        f"exact McNemar {chance}.\n\n"
        f"p is the chance of a split at least as uneven, if each of these "
        f"{count(better + worse, 'image')} were as likely to turn right as wrong. It is "
        "about these two models on this test set: it does not say what another seed would "
        "give, nor which way of training is better."
    )


def mcnemar(better: int, worse: int) -> float:
    """Return the two-sided p of McNemar's exact test: a binomial one on the changes."""
    from scipy.stats import binomtest  # takes a second

    return float(binomtest(better, better + worse).pvalue)


def count(n: int, what: str) -> str:
    """Return ``n`` and what it counts, as in "1 image"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def predictions(side: Side) -> Predictions | None:
    """Return the actual and the predicted class of each test image, as they are spelt.

    None where there is no such table.
    """
    text = side.text(CLASSES)
    if text is None:
        return None
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        actual, predicted = header.index("actual"), header.index("predicted")
    except ValueError:  # empty, or of other columns
        return None
    except csv.Error as error:
        raise ReviewError(f"{CLASSES} in {side}: {error}; restore it from git") from None
    for number, row in enumerate(rows, 2):
        if len(row) != len(header) or not all(row):
            raise ReviewError(f"{CLASSES} in {side}, line {number}: a value is missing")
    return [(row[actual], row[predicted]) for row in rows]


def test_images(side: Side) -> set[str]:
    """Return the checksums of the test images in dvc.lock; empty where it has none."""
    stages = mapping(mapping(side.load(LOCK)).get("stages"))
    deps = [mapping(d) for s in stages.values() for d in sequence(mapping(s).get("deps"))]
    return {str(d["md5"]) for d in deps if d.get("path") == TEST_IMAGES and "md5" in d}


# The tables


def metrics(base: Commit, workspace: Workspace) -> str:
    """Return the table of the metrics that changed."""
    rows = [
        [
            code(file),
            code(key),
            *(number(change.get(x)) for x in ("old", "new")),
            by(change),
        ]
        for file, key, change in changes(dvc_diff("metrics", base, workspace))
    ]
    whole = f"`dvc metrics diff {base.sha[:10]}`"
    return table(["File", "Metric", "Old", "New", "Change"], rows, whole)


def parameters(base: Commit, workspace: Workspace) -> str:
    """Return the table of the parameters that changed."""
    rows = [
        [code(file), code(key), *(value(change.get(x)) for x in ("old", "new"))]
        for file, key, change in changes(dvc_diff("params", base, workspace))
    ]
    whole = f"`dvc params diff {base.sha[:10]}`"
    return table(["File", "Parameter", "Old", "New"], rows, whole)


def changes(diff: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Yield file, key and change of all that differs."""
    for file, keys in sorted(diff.items()):
        for key, change in sorted(mapping(keys).items()):  # DVC's own order varies
            yield file, key, mapping(change)


def table(header: list[str], rows: Rows, whole: str) -> str:
    """Return a Markdown table that a terminal shows in columns, or a sentence.

    At most `ROWS` rows and `PART` bytes of it; then a sentence names the command ``whole``
    that prints all.
    """
    if not rows:
        return "No change."
    shown = rows[:ROWS]
    while len((lines := align(header, shown)).encode()) > PART:
        shown = shown[: len(shown) * 9 // 10]
    left = len(rows) - len(shown)
    if not left:
        return lines
    return f"{lines}\n\nCut: {count(left, 'more row')} not shown here; {whole} prints all."


def align(header: list[str], rows: Rows) -> str:
    """Return the Markdown of a table, its columns padded to the same width."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for cells in (header, ["-" * width for width in widths], *rows):
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append(f"| {' | '.join(padded)} |")
    return "\n".join(lines)


def number(metric: Any) -> str:
    """Return a metric as a cell."""
    if isinstance(metric, float):
        return f"{metric:.7g}"
    if isinstance(metric, int) and not isinstance(metric, bool) and abs(metric) < 1e15:
        return f"{metric:,}"
    return value(metric)


def by(change: dict[str, Any]) -> str:
    """Return by how much a metric changed, with its sign."""
    moved = change.get("diff")
    if not isinstance(moved, int | float):
        return "-"
    return number(moved) if moved <= 0 else f"+{number(moved)}"


def value(setting: Any) -> str:
    """Return a parameter as a cell: text as it is, unless it would read as a number."""
    if setting is None:
        return "-"
    if not isinstance(setting, str):
        return code(json.dumps(setting, ensure_ascii=False))
    try:
        json.loads(setting)
    except (ValueError, RecursionError):
        return code(setting)
    return code(f'"{setting}"')


def code(text: str) -> str:
    r"""Return ``text`` as a code span, in which GitHub makes no mention, link or heading.

    What could end the span or its cell, a line break or an invisible mark is shown by its
    code, as in ``\x7c``.
    """
    shown = "".join(map(visible, text[:CELL]))[:CELL]
    if not shown.strip() or shown != shown.strip():
        shown = f'"{shown}"'
    cut = len(text) > CELL or len("".join(map(visible, text))) > CELL
    return f"`{shown}`" + (f"... ({len(text):,} characters)" if cut else "")


def visible(c: str) -> str:
    """Return a character as a code span in a table may hold it."""
    if c in "`|":
        return f"\\x{ord(c):x}"
    return "\\\\" if c == "\\" else printable(c)


# Is dvc.lock current?


def lock_state() -> str:
    """Say whether dvc.lock matches the code, the parameters and the data."""
    # The exit status is 0 also when stages would run, so the output is read. Where a stage
    # that would run misses its data, as in a clone without a cache, DVC stops there with an
    # error.
    plan = dvc("repro", "--dry", "--allow-missing")
    said = plan.out.decode(errors="backslashreplace") + plan.err
    ends = r"^(?:Running stage|ERROR: failed to reproduce) '([^'\n]*)"
    stale = list(dict.fromkeys(re.findall(ends, said, re.M)))
    if stale:
        names = [f"- {code(name)}" for name in stale[:STAGES]]
        left = len(stale) - len(names)
        more = [f"\nCut: {count(left, 'more stage')} not shown here."] if left else []
        lead = "Out of date. Run `dvc repro` and commit what it writes; it begins with:\n"
        return "\n".join([lead, *names, *more])
    if plan.status == 0 and "up to date" in said:
        return "Current: it matches the code, the parameters and the data."
    errors = re.findall(r"^ERROR: (.*)", plan.err, re.M) or ["DVC gave no reason"]
    raise ReviewError(f"`dvc repro --dry` failed: {printable(errors[-1])}")


# The figures, on GitHub


def figures(base: Commit) -> str:
    """Return the figures of both commits side by side; nothing outside of GitHub."""
    address = repository()
    if not address:
        return ""
    head = Commit(find_commit(os.environ.get("HEAD_SHA") or "HEAD", "HEAD_SHA"))
    rows = []
    for name in FIGURES:
        file = f"plots/{name}.png"
        if base.blobs.get(file) != head.blobs.get(file):
            rows.append([image(address, side, file) for side in (base, head)])
    if not rows:
        return ""
    title = "<details>\n<summary>Figures of both commits</summary>"
    return f"{title}\n\n{align([f'{base}', f'{head}'], rows)}\n\n</details>"


def repository() -> str:
    """Return the address of the repository on GitHub; nothing outside of it."""
    server = os.environ.get("GITHUB_SERVER_URL", "")
    name = os.environ.get("GITHUB_REPOSITORY", "")
    if not server or not name:
        return ""
    address = f"{server}/{name}"
    if not re.fullmatch(r"https?://[\w.:-]+(/[\w.-]+){2}", address, re.A):
        raise ReviewError(f"no address of a repository on GitHub: {printable(address)}")
    return address


def image(address: str, side: Commit, file: str) -> str:
    """Return an image that links to ``file`` at the commit ``side``."""
    if file not in side.blobs:
        return "none"
    # ?raw=true, on GitHub's own host: whoever reads a private repository is logged in
    # there. From any other host, raw.githubusercontent.com too, GitHub's proxy fetches the
    # image, and it is logged in nowhere.
    page = f"{address}/blob/{side.sha}/{file}"
    return f"[![{file} of {side}]({page}?raw=true)]({page})"


if __name__ == "__main__":
    main()
