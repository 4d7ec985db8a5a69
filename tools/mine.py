"""Make a project of your own from this one, once: ``make mine NAME=washer``.

The package, its imports and the paths in dvc.yaml and dvc.lock take the name. What is about
MNIST's figures goes: benchmarks, records, the tests of them. ``make same`` shows that no
output changes, so that no stage runs again. All of it is one commit; where anything fails,
the folder is as it was.
"""

import keyword
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from mnist_lstm.plumbing.errors import UserError
from trees import call, params_of

OLD = "mnist_lstm"
LONGEST = 20  # letters of a name; with more, lines of comments grow too long for the linter
GOES = (
    "benchmarks",
    "tests/mnist",
    "docs/notebook.md docs/page.gif CITATION.cff",
    "tools/cuda_check.py tools/gif.py tools/mine.py",
)
RECIPES = ("digits", "fast", "vowels")  # that pages and scripts read; the others go
MOVES = {"benchmarks/strokes.py": "tests", "benchmarks/strokes.json": "tests"}
TARGETS = ("bench", "cuda")  # of make, which ran what goes
CUTS = {  # by file: patterns of what goes, and what takes its place
    "pyproject.toml": {
        r'"benchmarks", (?="tools"\])|, "benchmarks"(?=, "tools"\])': "",
        r":benchmarks": "",
        r"description = .*": 'description = "A reproducible DVC pipeline"',
    },
    "README.md": {
        r"recipes/, benchmarks/ .*\n": "recipes/                    sets of parameters\n",
        r", \[best\]\(benchmarks\S+ after `recipes/pictures`": "",
    },
    "docs/your-own.md": {r"(?s)\*\*Your name\*\*.*?\n```\n\n": ""},
    ".ci/run": {r"(?s)# The genuine MNIST.*?\nfi\n": "", r"make scale lint": "make lint"},
}
CHANGES = "# Changes\n\n## Unreleased\n\n- Made from mnist-lstm, commit {commit}.\n"
LICENSE = "The code is under the [MIT license](LICENSE), as what it was copied from.\n"
HEAD = """# {title}

A reproducible pipeline: [DVC](https://dvc.org) prepares the data, trains a PyTorch model,
evaluates it, draws figures and exports it. Say here what the data are, what the model is
for, and how good it is.

"""
TOLD = """
{title} is yours, in one commit of {n_file} files: `import {name}` works, and no stage
runs again. Gone: benchmarks, records, tests of MNIST's figures. The data stay `{data}`.

    make lint test                        2 to 4 minutes
    less docs/your-own.md                 your data, your model
    git remote set-url origin YOUR-REPOSITORY && git push --set-upstream origin HEAD

Then say in README.md what it is. The LICENSE stays with what you copied.
"""


def main() -> None:
    """Do it, or leave everything as it was."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("error: which name? make mine NAME=washer")
    name = sys.argv[1]
    refuse_name(name)
    refuse_changes()
    commit = call(Path(), "git", "rev-parse", "--short", "HEAD").strip()
    done = False
    try:
        stamps = current_stamps()
        cut()
        rename(name)
        write_pages(name, commit)
        tidy()
        for stamp, file in stamps.items():  # nothing has to be installed anew
            stamp.write_text(checksum(file))
        print("Whether any output changes: 1 to 3 minutes.", flush=True)
        call(Path(), sys.executable, "tools/same.py")
        call(Path(), "git", "add", "--all")
        message = f"Make {title_of(name)} of mnist-lstm, commit {commit}"
        call(Path(), "git", "commit", "--quiet", "--message", message)
        done = True
    finally:
        if not done:
            call(Path(), "git", "add", "--all")
            call(Path(), "git", "reset", "--quiet", "--hard")
            shutil.rmtree(Path("src", name), ignore_errors=True)
    show = ["git", "show", "--no-renames", "--name-only", "--format=", "HEAD"]
    n_file = len(call(Path(), *show).splitlines())
    data = params_of(Path(), "HEAD")["data"]["name"]
    print(TOLD.format(title=title_of(name), name=name, n_file=n_file, data=data))


def refuse_name(name: str) -> None:
    """Refuse what Python cannot import, or would import from elsewhere.

    Raises:
        UserError: says why.
    """
    fits = f"a name for `import`: lower case, digits, _, at most {LONGEST} letters"
    if not re.fullmatch(rf"[a-z][a-z0-9_]{{0,{LONGEST - 1}}}", name):
        raise UserError(f"NAME={name!r} is not {fits}")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UserError(f"NAME={name} is a word of Python itself; choose another")
    if find_spec(name) or name in {path.stem for path in Path().glob("*/*.py")}:
        raise UserError(f"NAME={name} is a module that is here already; choose another")


def refuse_changes() -> None:
    """Refuse a folder that holds what is not committed, or a Git that cannot commit.

    Raises:
        UserError: says what.
    """
    call(Path(), "git", "var", "GIT_AUTHOR_IDENT")  # ends where nobody is named
    changed = call(Path(), "git", "status", "--porcelain").splitlines()
    if changed:
        files = ", ".join(line[3:] for line in changed[:3]) + ", ..." * (len(changed) > 3)
        raise UserError(f"not committed: {files}; commit it or put it elsewhere first")


def checksum(file: str) -> str:
    """Return what the Makefile compares, to see whether ``file`` was installed."""
    return call(Path(), "sh", "-c", f"cksum <{file}")


def current_stamps() -> dict[Path, str]:
    """Return the files of ``.venv`` that say what was installed, if it still is."""
    stamps = {Path(".venv/installed"): "requirements.txt"}
    stamps[Path(".venv/scale")] = "requirements-scale.txt"
    return {
        stamp: file
        for stamp, file in stamps.items()
        if stamp.exists() and stamp.read_text() == checksum(file)
    }


def cut() -> None:
    """Delete what a copy does not need, and what names it."""
    for source, folder in MOVES.items():
        shutil.move(source, folder)
    recipes = [path for path in Path("recipes").iterdir() if path.name not in RECIPES]
    for path in [*map(Path, " ".join(GOES).split()), *recipes]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for target in TARGETS:
        rule = rf"(?m)^(#.*\n)*{target}:.*\n(\t.*\n)*\n"
        CUTS.setdefault("Makefile", {}).update({rule: "", rf"(?<=\s){target} ": ""})
    for file, cuts in CUTS.items():
        text = Path(file).read_text()
        for pattern, new in cuts.items():
            text, n = re.subn(pattern, new, text)
            assert n, f"{file}: no {pattern}"
        Path(file).write_text(text)


def title_of(name: str) -> str:
    """Return ``name`` as a distribution or an artifact is called."""
    return name.strip("_").replace("_", "-")


def rename(name: str) -> None:
    """Put ``name`` in the place of the old one; no output may change."""
    Path("src", OLD).rename(Path("src", name))
    for file in files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a figure
            continue
        new = text.replace(OLD, name)
        if file.parts[0] not in ("src", "LICENSE"):  # the card, the graph of the ONNX file
            new = new.replace("mnist-lstm", title_of(name))
        if new != text:
            file.write_text(new, encoding="utf-8")


def files() -> list[Path]:
    """Return all files that are Git's, or will be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = call(Path(), *command).split("\0")
    return [path for path in map(Path, filter(None, set(listed))) if path.is_file()]


def write_pages(name: str, commit: str) -> None:
    """Write README.md and CHANGELOG.md; no page links to what is gone."""
    page = Path("README.md")
    sections = re.split(r"(?m)^(?=## )", page.read_text())[1:]
    kept = {text.partition("\n")[0].removeprefix("## "): text for text in sections}
    for gone in ("Results", "Make it yours"):
        del kept[gone]
    start, commands, rest = re.split(r"(?s)(```bash\n.*?\n```\n)", kept["Quick start"])
    (last,) = re.findall(r"For the commands below, run .*\n", rest)
    kept["Quick start"] = f"{start}{commands}\n{last}\n"
    page.write_text(HEAD.format(title=title_of(name)) + "".join(kept.values()) + LICENSE)
    Path("CHANGELOG.md").write_text(CHANGES.format(commit=commit))
    for page in (Path("README.md"), *Path("docs").glob("*.md"), *Path("own").glob("*.md")):

        def unlink(found: re.Match, folder: Path = page.parent) -> str:
            file = found[2].partition("#")[0]
            gone = "://" not in file and not (folder / file).exists()
            return found[1] if gone and not file.startswith("../../") else found[0]

        page.write_text(re.sub(r"\[([^]]+)\]\(([^)]+)\)", unlink, page.read_text()))


def tidy() -> None:
    """Sort the imports under the new name, and break lines anew."""
    call(Path(), "ruff", "check", "--quiet", "--fix", "--select", "I", ".")
    call(Path(), "ruff", "format", "--quiet", ".")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
