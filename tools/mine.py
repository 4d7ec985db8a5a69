"""Make a project of your own from this one, once: ``make mine NAME=washer``.

The package, its imports and the paths in dvc.yaml and dvc.lock take the name. What is about
MNIST's figures goes: benchmarks, records, the tests of them. ``make same`` shows that no
output changes, so that no stage runs again. All of it is one commit; where anything fails,
the folder is as it was.
"""

import re
import shutil
import sys
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from mnist_lstm.plumbing.errors import UserError
from trees import call, git, params_of

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
{title} is yours, in one commit: `import {name}` works, and no stage runs again. Gone:
benchmarks, records, tests of MNIST's figures. The data stay `{data}`.

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
    commit = git("rev-parse", "--short", "HEAD").strip()
    done = False
    try:
        cut()
        rename(name)
        write_pages(name, commit)
        # Sort the imports under the new name, and break lines anew.
        call(Path(), "ruff", "check", "--quiet", "--fix", "--select", "I", ".")
        call(Path(), "ruff", "format", "--quiet", ".")
        print("Whether any output changes: 1 to 3 minutes.", flush=True)
        call(Path(), sys.executable, "tools/same.py")
        git("add", "--all")
        message = f"Make {title_of(name)} of mnist-lstm, commit {commit}"
        git("commit", "--quiet", "--message", message)
        done = True
    finally:
        if not done:
            git("add", "--all")
            git("reset", "--quiet", "--hard")
            shutil.rmtree(Path("src", name), ignore_errors=True)
    data = params_of("HEAD")["data"]["name"]
    print(TOLD.format(title=title_of(name), name=name, data=data))


def refuse_name(name: str) -> None:
    """Refuse what Python cannot import, or would import from elsewhere."""
    fits = f"a name for `import`: lower case, digits, _, at most {LONGEST} letters"
    if not re.fullmatch(rf"[a-z][a-z0-9_]{{0,{LONGEST - 1}}}", name) or iskeyword(name):
        raise UserError(f"NAME={name!r} is not {fits}")
    if find_spec(name) or name in {path.stem for path in Path().glob("*/*.py")}:
        raise UserError(f"NAME={name} is a module that is here already; choose another")


def refuse_changes() -> None:
    """Refuse a folder that holds what is not committed, or a Git that cannot commit."""
    git("var", "GIT_AUTHOR_IDENT")  # ends where nobody is named
    if changed := git("status", "--porcelain").splitlines():
        files = ", ".join(line[3:] for line in changed)
        raise UserError(f"not committed: {files}; commit it or put it elsewhere first")


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
    others = git("ls-files", "--others", "--exclude-standard").splitlines()
    for file in map(Path, [*git("ls-files").splitlines(), *others]):
        # What was installed stays so: of requirements, make has the checksum.
        if not file.is_file() or file.match("requirements*.txt"):
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a figure
            continue
        new = text.replace(OLD, name)
        if file.parts[0] not in ("src", "LICENSE"):  # the card, the graph of the ONNX file
            new = new.replace("mnist-lstm", title_of(name))
        if new != text:
            file.write_text(new, encoding="utf-8")


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


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
