"""``make review``: what a reviewer reads, whatever the branch, the files and the clone are.

Most tests need no training: a commit with metrics, a table of classes and a lock is enough.
"""

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cmarkgfm
import pytest
import yaml
from cmarkgfm.cmark import Options

from defaults import TINY
from sandbox import create

REVIEW = ("python", "tools/review.py")
CLASSES = "plots/confusion.csv"
LOCK = {
    "schema": "2.0",
    "stages": {
        "plot": {
            "cmd": "true",
            "deps": [
                {"path": "data/prepared/test.safetensors", "hash": "md5", "md5": "a" * 32}
            ],
        }
    },
}
UNKNOWN = "is not a known commit; name a branch, a tag or a commit"
STEPS = {
    name: job["steps"]
    for name, job in yaml.safe_load(Path(".github/workflows/review.yml").read_text())[
        "jobs"
    ].items()
}
NO_GITHUB = {"GITHUB_SERVER_URL": "", "GITHUB_REPOSITORY": "", "HEAD_SHA": ""}
ON_GITHUB = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r"}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A commit with all that a run writes, made by hand; only to be read."""
    project = create(tmp_path_factory.mktemp("review") / "start", TINY)
    write(project, "dvc.lock", yaml.safe_dump(LOCK))
    write(project, "metrics/model.json", json.dumps({"parameters": 3114}))
    write_metrics(project, {"test": {"loss": 0.0624, "accuracy": 0.95}})
    write_classes(project, [(n % 10, n % 10) for n in range(20)])
    for name in ("learning_curve", "confusion", "mistakes"):
        write(project, f"plots/{name}.png", f"\x89PNG {name}")
    # As after `make .venv/installed`; this Python has all that it would install.
    write(project, ".venv/installed", "")
    project.commit("A run")
    return project


@pytest.fixture
def project(start, tmp_path):
    """A copy of that commit, to change."""
    return start.copy(tmp_path / "project")


def write(project, file, text):
    path = project.path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_metrics(project, values):
    """Write ``values`` where ``dvc.yaml`` says that ``evaluate`` does."""
    write(project, "metrics/evaluate.json", json.dumps(values))


def write_classes(project, rows):
    write(project, CLASSES, "actual,predicted\n" + "".join(f"{a},{p}\n" for a, p in rows))


def review(project, base="HEAD", ok=True, **env):
    return project.run(*REVIEW, base, ok=ok, **(NO_GITHUB | env))


def refused(project, base="HEAD", **env):
    """Return the one line with which a review ends that could not be made."""
    output = review(project, base, ok=False, **env)
    assert len(output.splitlines()) == 1, output
    assert output.startswith("error: ")
    assert output[:-1].isprintable()
    return output[len("error: ") : -1]


def verdict(project, base="HEAD"):
    """Return the paragraphs on test accuracy alone, without DVC's tables."""
    program = (
        "import sys; sys.path.insert(0, 'tools'); import commits, review\n"
        "base = commits.Commit(commits.find_commit(sys.argv[1], 'BASE'))\n"
        "print(review.verdict(base, commits.Workspace()))\n"
    )
    return project.run("python", "-c", program, base).rstrip("\n").split("\n\n")


# Does the change matter?


def test_the_report_opens_with_whether_the_change_matters(project):
    wrong = {"old": 170, "new": 170 - 41 + 68}
    old = [(0, int(n < wrong["old"])) for n in range(10_000)]
    new = [(0, int(41 <= n < 41 + wrong["new"])) for n in range(10_000)]
    write_classes(project, old)
    project.commit("The old model")
    write_classes(project, new)
    write_metrics(project, {"test": {"loss": 0.0712, "accuracy": 0.945}})
    project.set_params({"train": {"epochs": 3}})
    report = review(project)

    tail = sum(math.comb(109, k) for k in range(42))
    assert f"{2 * tail / 2**109:.2g}" == "0.012"
    first, what_p_says, *_ = report.split("\n\n")
    assert first == (
        "Test accuracy 98.30% -> 98.03%: 41 images newly right, 68 newly wrong; "
        "exact McNemar p = 0.012."
    )
    assert "does not say what another seed would give" in what_p_says
    assert (
        "| `metrics/evaluate.json` | `test.accuracy` | 0.95   | 0.945  | -0.005  |"
        in report
    )
    assert (
        "| `metrics/evaluate.json` | `test.loss`     | 0.0624 | 0.0712 | +0.0088 |"
        in report
    )
    assert "| `params.yaml` | `train.epochs` | `2` | `3` |" in report
    assert "Out of date. Run `dvc repro`" in report
    assert "<" not in report.replace("p < ", "")  # no figures, no HTML in a terminal


def test_a_hundred_images_newly_right_are_no_chance(project):
    write_classes(project, [(1, 0)] * 100)
    project.commit("All wrong")
    write_classes(project, [(1, 1)] * 100)
    assert verdict(project)[0] == (
        "Test accuracy 0.00% -> 100.00%: 100 images newly right, 0 newly wrong; "
        "exact McNemar p < 0.0001."
    )


def test_one_image_newly_wrong_says_nothing(project):
    write_classes(project, [(n % 10, n % 10 if n else 5) for n in range(20)])
    assert verdict(project)[0] == (
        "Test accuracy 100.00% -> 95.00%: 0 images newly right, 1 newly wrong; "
        "exact McNemar p = 1."
    )


def test_where_no_image_changed_sides_there_is_no_p(project):
    write_classes(project, [(1, 2), (1, 1)])
    project.commit("One right")
    write_classes(project, [(1, 3), (1, 1)])
    assert verdict(project) == [
        "Test accuracy 50.00% -> 50.00%: no image newly right or wrong, "
        "so there is nothing to test."
    ]


def test_models_on_other_test_images_are_not_compared(project):
    lock = json.loads(json.dumps(LOCK).replace("a" * 32, "b" * 32))
    write(project, "dvc.lock", yaml.safe_dump(lock))
    assert verdict(project) == [
        "Nothing is compared: the two commits have different test images "
        "(data/prepared/test.safetensors in dvc.lock)."
    ]
    project.git("checkout", "dvc.lock")
    write_classes(project, [(9 - n % 10, n % 10) for n in range(20)])
    assert verdict(project) == [
        "Nothing is compared: the two commits have different test images "
        "(the column `actual` of plots/confusion.csv)."
    ]


def test_the_stage_that_reads_the_test_images_may_have_any_name(project):
    lock = {"schema": "2.0", "stages": {"judge": LOCK["stages"]["plot"]}}
    write(project, "dvc.lock", yaml.safe_dump(lock))
    assert verdict(project)[0].startswith("Test accuracy 100.00% -> 100.00%")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (CLASSES, None, "the workspace has no plots/confusion.csv."),
        (CLASSES, "", "the workspace has no plots/confusion.csv."),
        (CLASSES, "label,prediction\n1,1\n", "the workspace has no plots/confusion.csv."),
        (
            "dvc.lock",
            None,
            "no data/prepared/test.safetensors in dvc.lock of the workspace.",
        ),
        (
            "dvc.lock",
            "schema: '2.0'\nstages: {a: {cmd: x, deps: [{path: b}]}, c: 5}\n",
            "no data/prepared/test.safetensors in dvc.lock of the workspace.",
        ),
    ],
)
def test_what_is_not_there_is_not_compared(project, file, text, said):
    (project.path / file).unlink()
    if text is not None:
        write(project, file, text)
    assert verdict(project) == [f"Test accuracy is not compared: {said}"]
    project.commit("Without it")
    project.git("checkout", "HEAD~1", "--", file)
    sha = project.git("rev-parse", "HEAD")[:10]
    (sentence,) = verdict(project)
    assert sentence == f"Test accuracy is not compared: {said}".replace(
        "the workspace", f"commit {sha}"
    )


def test_a_project_that_never_ran_is_reviewed(project):
    report = review(project, "HEAD~1")
    sha = project.git("rev-parse", "HEAD~1")[:10]
    assert report.startswith(
        f"Test accuracy is not compared: commit {sha} has no plots/confusion.csv.\n"
    )
    assert "| `metrics/model.json`    | `parameters`    | -   | 3,114  | -      |" in report


# Any name of a branch

HOSTILE_NAMES = [
    "`touch${IFS}pwned`",
    "$(touch${IFS}pwned)",
    "$(shell touch pwned)",
    "${shell touch pwned}",
    "$(eval x:=$(shell touch pwned))",
    "$x",
    "$$",
    "$HOME",
    "$",
    "a;touch${IFS}pwned",
    "a|touch${IFS}pwned",
    "a&touch${IFS}pwned",
    "a>pwned",
    "a'b",
    'a"b',
    "'$(touch pwned)'",
    '"$(touch pwned)"',
    "#123",
    "a#b",
    "a%b%",
    "a b",
    "",
    "é中\N{GRINNING FACE}",
    "-x",
    "--help",
    "--output=pwned",
    "-",
    "@me",
    "x" * 200,
    "HEAD:params.yaml",
    "!x",
    "a=b",
    "\\",
]


def name_in(make, name):
    """Return a command that reviews against ``name``, and its environment."""
    if make == "argument":
        return ["make", "review", f"BASE={name}"], {}
    if make == "environment":
        return ["make", "review"], {"BASE": name}
    script = next(step["run"] for step in STEPS["report"] if step.get("id") == "review")
    return ["bash", "-e", "-c", script], {"BASE": name}


@pytest.mark.parametrize("make", ["argument", "environment", "workflow"])
def test_no_name_of_a_branch_runs_or_is_mangled(project, make):
    for name in HOSTILE_NAMES:
        command, env = name_in(make, name)
        output = project.run(*command, ok=False, **(NO_GITHUB | env))
        shown = name if len(name) <= 100 else name[:97] + "..."
        assert output.splitlines()[0] == f"error: BASE={shown} {UNKNOWN}"
        assert not list(project.path.rglob("*pwned*")), name


@pytest.mark.parametrize(
    "make",
    [
        pytest.param("argument", marks=pytest.mark.long),
        pytest.param("environment", marks=pytest.mark.long),
        "workflow",
    ],
)
def test_any_name_that_git_allows_is_found(project, make):
    write(project, "params.yaml", "<<<<<<< ours\n")  # ends the review once BASE is found
    found = 0
    for name in HOSTILE_NAMES:
        allowed = project.start("git", "update-ref", f"refs/heads/{name}", "HEAD~1")
        allowed.communicate()
        if allowed.returncode or name == "-":
            continue
        found += 1
        command, env = name_in(make, name)
        output = project.run(*command, ok=False, **(NO_GITHUB | env))
        assert output.startswith("error: params.yaml in the workspace, line 1: "), name
    assert found >= 20
    assert not list(project.path.glob("*pwned*"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202egnp", r"\u202egnp"),
        ("y" * 100_000, "y" * 97 + "..."),
    ],
)
def test_what_is_no_commit_is_one_printable_line(project, name, shown):
    for make in ("argument", "environment"):
        command, env = name_in(make, name)
        output = project.run(*command, ok=False, **(NO_GITHUB | env))
        assert output.split("\n")[0] == f"error: BASE={shown} {UNKNOWN}"
        assert refused(project, name) == f"BASE={shown} {UNKNOWN}"


def test_a_name_in_no_encoding_is_one_printable_line(project):
    output = project.run("bash", "-c", "python tools/review.py $'a\\xff'", ok=False)
    assert output == f"error: BASE=a\\udcff {UNKNOWN}\n"


def test_no_make_that_a_recipe_runs_expands_the_name(project):
    write(project, "below.mk", "below:\n\t@echo below\n")
    write(project, "above.mk", "above:\n\t@$(MAKE) -f below.mk\n")
    command = ["make", "-f", "Makefile", "-f", "above.mk", "above"]
    output = project.run(*command, "BASE=$(shell touch pwned)")
    assert "below\n" in output
    assert not (project.path / "pwned").exists()


def test_a_review_without_a_name_says_how(project):
    assert project.run(*REVIEW, ok=False) == ("error: usage: python tools/review.py BASE\n")


# Any content

HOSTILE = [
    "@someone",
    "@org/team",
    "#123",
    "GH-123",
    "# heading",
    "a\n# heading",
    "a\n\n# heading\n",
    "a|b",
    "|" * 9,
    "`x`",
    "``` \nx",
    "`@someone`",
    "`|`",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</code></td></table><h1>x</h1>",
    "<details>",
    "![i](http://example.org/y.png)",
    "[l](http://example.org)",
    "[l]: http://example.org",
    "http://example.org",
    "www.example.org",
    "a@example.org",
    "**b**",
    "~~s~~",
    "<!-- ",
    "-->",
    "&#64;x",
    "&lt;",
    "\\",
    "a\\",
    "\\|x",
    "\\`x",
    "$x$",
    "\r\n",
    "\x1b[31mred",
    "\u202egnp.exe",
    "\u2028x",
    "\u200b",
    "\u2066x",
    " ",
    "  x  ",
    "- item",
    "> quote",
    "    x",
    "---",
    "é中",
    "y" * 1000,
]
HOSTILE_KEYS = [  # DVC refuses an @ there
    "#123",
    "# heading",
    "a\n# heading",
    "a|b",
    "`x`",
    "<b>x</b>",
    "[l](http://example.org)",
    "![i](http://example.org/y.png)",
    "\u202ex",
]
PLAIN = {"p", "code", "h2", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}


class Page(HTMLParser):
    """What GitHub's own renderer makes of a report: tags, headings, rows, text."""

    def __init__(self, report):
        super().__init__()
        self.tags, self.headings, self.rows, self.images = [], [], [], []
        self.text = ""  # outside of code
        self.open = []
        options = Options.CMARK_OPT_UNSAFE  # raw HTML as it is, to see all of it
        self.feed(cmarkgfm.github_flavored_markdown_to_html(report, options=options))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "code" not in self.open:
            self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings.append(data)


def harmless(report):
    """Return the page of ``report``, which holds nothing but the project's own Markdown."""
    assert all(c.isprintable() or c == "\n" for c in report)
    page = Page(report)
    assert set(page.tags) <= PLAIN
    assert page.open == []
    assert page.headings == ["Metrics", "Parameters", "dvc.lock"]
    assert not re.search(r"[@#<>]|http|www|example|someone", page.text.replace("->", ""))
    return page


def test_no_content_mentions_links_or_makes_a_heading(project):
    names = {f"{n}{text}": n for n, text in enumerate(HOSTILE)}
    write_metrics(project, names | {"plain_name": 7.5})
    params = yaml.safe_load(project.text("params.yaml"))
    params["own"] = {f"{n}{text}": text for n, text in enumerate(HOSTILE)}
    write(project, "params.yaml", yaml.safe_dump(params))
    stage = {"cmd": "true # @someone", "deps": ["params.yaml"]}
    stages = {"many": {"foreach": HOSTILE_KEYS, "do": stage}, "\u202e\u2066中": stage}
    pipeline = {"stages": stages, "metrics": ["metrics/evaluate.json"]}
    write(project, "dvc.yaml", yaml.safe_dump(pipeline))
    base = "é@me/#1&<b>"
    project.git("update-ref", f"refs/heads/{base}", "HEAD")
    report = review(project, base)

    page = harmless(report)
    assert f"Compared with `{base}`" in report
    metrics, parameters = (
        [row for row in page.rows if row[0] == f"{file}"]
        for file in ("metrics/evaluate.json", "params.yaml")
    )
    assert ["metrics/evaluate.json", "plain_name", "-", "7.5", "-"] in metrics
    assert len(metrics) == len(HOSTILE) + 3  # and plain_name; two that are gone
    assert len(parameters) == len(HOSTILE)
    assert {len(row) for row in metrics} == {5}
    assert {len(row) for row in parameters} == {4}
    assert ["params.yaml", "own.0@someone", "-", "@someone"] in parameters
    assert ["params.yaml", r"own.7a\x7cb", "-", r"a\x7cb"] in parameters
    assert ["params.yaml", r"own.5a\n# heading", "-", r"a\n# heading"] in parameters
    assert r"- `many@a\x7cb`" in report
    assert report.count("\n- `many@") == len(HOSTILE_KEYS)
    assert r"- `\u202e\u2066中`" in report


@pytest.mark.parametrize("letter", ["a", "\N{GRINNING FACE}", "|\u202e"])
def test_a_report_of_any_size_fits_a_comment_and_says_what_it_left_out(project, letter):
    write_metrics(project, {f"{n}{letter * 70}": letter * 20_000 for n in range(50)})
    params = yaml.safe_load(project.text("params.yaml"))
    params |= {f"{n}{letter * 70}": f"{letter * 100}" for n in range(300)}
    write(project, "params.yaml", yaml.safe_dump(params))
    report = review(project, **ON_GITHUB)
    assert len(report.encode()) < 60_000
    sha = project.git("rev-parse", "HEAD")[:10]
    assert re.search(
        rf"Cut: \d+ more rows not shown here; `dvc params diff {sha}` prints all\.", report
    )
    assert "... (" in report
    shown = [line for line in report.splitlines() if line.startswith("| `params.yaml`")]
    left = int(re.search(r"Cut: (\d+) more rows not shown here; `dvc params", report)[1])
    assert len(shown) + left == 300
    harmless(report)


# The figures, on GitHub


@pytest.mark.long
def test_on_github_the_figures_that_differ_stand_side_by_side(project):
    write(project, "plots/confusion.png", "\x89PNG another")
    (project.path / "plots/mistakes.png").unlink()
    project.commit("Other figures")
    write(project, "plots/learning_curve.png", "\x89PNG in the workspace alone")
    old, new = project.git("rev-parse", "HEAD~1", "HEAD").split()
    report = review(project, "HEAD~1", **ON_GITHUB)
    page = Page(report)
    blob = "https://github.com/o/r/blob"
    assert page.images == [
        f"{blob}/{old}/plots/confusion.png?raw=true",
        f"{blob}/{new}/plots/confusion.png?raw=true",
        f"{blob}/{old}/plots/mistakes.png?raw=true",
    ]
    assert page.open == []
    assert "details" in page.tags
    assert "blob" not in review(project, "HEAD~1")
    # The head of a pull request is not what is checked out: that is a merge.
    assert "blob" not in review(project, "HEAD~1", HEAD_SHA=old, **ON_GITHUB)
    assert refused(project, HEAD_SHA="-x", **ON_GITHUB) == f"HEAD_SHA=-x {UNKNOWN}"
    hostile = ON_GITHUB | {"GITHUB_REPOSITORY": "o/r)![x](y"}
    assert refused(project, **hostile) == (
        "no address of a repository on GitHub: https://github.com/o/r)![x](y"
    )


# What could not be looked at is no answer


@pytest.mark.parametrize("side", ["the workspace", "BASE"])
@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("dvc.lock", "a: 1\n<<<<<<< HEAD\n", "line 2: conflict marker; resolve"),
        ("dvc.lock", "", "line 1: no table of stages; restore it from git"),
        ("dvc.lock", "a: 1\nb: [\n", "line 3: no YAML (expected the node content"),
        ("dvc.yaml", "stages:\n=======\n", "line 2: conflict marker; resolve"),
        ("params.yaml", "a: 1\n>>>>>>> their\r\n", "line 2: conflict marker; resolve"),
        ("params.yaml", "a: 1\na: 2\n", 'line 2: no YAML (found duplicate key "a"'),
        ("params.yaml", "[" * 50_000, "line 1: nested too deeply"),
        ("metrics/evaluate.json", '{\n"a": 1\n', "line 3: no JSON ("),
        ("metrics/model.json", "||||||| base\n", "line 1: conflict marker; resolve"),
        (CLASSES, "actual,predicted\n1,1\n<<<<<<< a\n", "line 3: conflict marker; resolve"),
        (CLASSES, "actual,predicted\n1,1\n2\n", "line 3: a value is missing"),
        (CLASSES, 'actual,predicted\n1,"1\n', "unexpected end of data"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(project, side, file, text, said):
    write(project, file, text)
    if side == "BASE":
        project.commit("Damaged")
        side = f"commit {project.git('rev-parse', 'HEAD')[:10]}"
        project.git("checkout", "HEAD~1", "--", file)
    line = refused(project)
    assert line.startswith(f"{file} in {side}")
    assert said in line


def test_a_file_in_another_encoding_is_one_line(project):
    (project.path / "params.yaml").write_bytes(b"a: 1\nb: \xff\n")
    assert refused(project) == (
        "params.yaml in the workspace, line 2: no UTF-8; correct it, or restore it from git"
    )


def test_a_pipe_in_place_of_a_file_is_one_line(project):
    (project.path / "params.yaml").unlink()
    os.mkfifo(project.path / "params.yaml")
    assert refused(project) == "params.yaml in the workspace is no regular file"


@pytest.mark.parametrize("where", ["workspace", "base"])
def test_a_pipeline_that_dvc_refuses_is_no_answer(project, where):
    """It is YAML, so only DVC can tell; of a base it says so with exit status 0."""
    pipeline = yaml.safe_load(project.text("dvc.yaml"))
    pipeline["stages"]["train"]["outz"] = []
    write(project, "dvc.yaml", yaml.safe_dump(pipeline))
    if where == "base":
        project.commit("Refused")
        project.git("checkout", "HEAD~1", "--", "dvc.yaml")
    line = refused(project)
    assert line.startswith(
        ("`dvc metrics diff` ", "`dvc params diff` ", "`dvc repro --dry` ")
    )


def test_a_zip_without_history_is_one_line(project, tmp_path):
    folder = tmp_path / "zip"
    folder.mkdir()
    project.run("bash", "-c", f"git archive HEAD | tar --extract --directory '{folder}'")
    project.path = folder
    assert refused(project) == (
        "this folder is no git repository (GitHub's ZIP has no history): "
        "`git clone` the project"
    )
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    line = refused(project)
    assert line.startswith("this folder is no git repository of its own, it lies in ")
    assert line.endswith(": `git clone` the project")


def test_a_repository_of_another_user_is_one_line(project):
    line = refused(project, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert line == (
        "git refuses this repository, which belongs to another user; if you trust it: "
        f"git config --global --add safe.directory {project.path}"
    )


def test_a_shallow_clone_without_the_base_is_one_line(project, tmp_path):
    project.run(
        "git", "clone", "--quiet", "--depth=1", f"file://{project.path}", "../clone"
    )
    clone = type(project)(tmp_path / "clone")
    assert refused(clone, "HEAD~1") == (
        f"BASE=HEAD~1 {UNKNOWN}; this clone is shallow, "
        "`git fetch --unshallow` fetches the rest"
    )


def test_without_git_it_is_one_line(project, tmp_path):
    output = project.run(
        sys.executable, "tools/review.py", "HEAD", ok=False, PATH=str(tmp_path)
    )
    assert output == "error: cannot run `git`: No such file or directory\n"


def test_a_terminal_that_is_gone_is_one_line(project):
    command = "python tools/review.py HEAD"
    full = project.run("bash", "-c", f"{command} >/dev/full", ok=False, **NO_GITHUB)
    assert full == "error: cannot print the report: No space left on device\n"
    closed = project.run("bash", "-c", f"{command} >&-", ok=False, **NO_GITHUB)
    assert closed == "error: standard output is closed, so the report has no reader\n"


@pytest.fixture
def partial(project, tmp_path):
    """A clone that lacks the files which only an earlier commit has."""
    write_metrics(project, {"test": {"loss": 0.07, "accuracy": 0.85}})
    write_classes(project, [(n % 10, 0) for n in range(20)])
    project.set_params({"train": {"epochs": 3}})
    write(project, ".dvcignore", "/.venv\n")  # of the earlier one, only DVC reads it
    project.commit("Another run")
    project.git("config", "uploadpack.allowFilter", "true")
    project.git("config", "uploadpack.allowAnySHA1InWant", "true")
    source = f"file://{project.path}"
    project.git("clone", "--quiet", "--filter=blob:none", source, "../partial")
    clone = type(project)(tmp_path / "partial")
    missing = clone.git("rev-list", "--objects", "--missing=print", "HEAD")
    assert "\n?" in missing
    return clone


def test_a_partial_clone_fetches_what_it_lacks(partial):
    report = review(partial, "HEAD~1")
    assert report.startswith("Test accuracy 100.00% -> 10.00%: 0 images newly right, 18 ")
    assert "| `metrics/evaluate.json` | `test.accuracy` | 0.95   | 0.85 " in report
    assert "| `params.yaml` | `train.epochs` | `2` | `3` |" in report


def test_a_server_that_never_answers_is_one_line(partial):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        partial.git("remote", "set-url", "origin", f"git://127.0.0.1:{port}/x")
        line = refused(partial, "HEAD~1", REVIEW_TIMEOUT="2")
    assert line.startswith("`git diff --numstat ")
    assert line.endswith(
        " was stopped after 2 seconds; REVIEW_TIMEOUT=SECONDS gives it longer"
    )


@pytest.mark.parametrize(
    ("signum", "status", "said"),
    [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_a_review_that_is_ended_ends_what_it_started(partial, signum, status, said):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        partial.git("remote", "set-url", "origin", f"git://127.0.0.1:{port}/x")
        with partial.start(*REVIEW, "HEAD~1") as process:
            connection, _ = server.accept()
            process.send_signal(signum)
            output, _ = process.communicate(timeout=60)
        connection.settimeout(60)
        while connection.recv(4096):  # until git is gone
            pass
    assert (process.returncode, output) == (status, said)


def test_a_server_that_is_gone_is_one_line(partial, project):
    shutil.rmtree(project.path)
    assert refused(partial, "HEAD~1").startswith("`git diff` failed: ")


def test_a_limit_that_is_no_number_is_one_line(project):
    assert refused(project, REVIEW_TIMEOUT="soon") == (
        "REVIEW_TIMEOUT=soon is no number of seconds"
    )


# The workflow


def test_the_step_prints_the_report_and_hands_it_on(project, tmp_path):
    project.git("update-ref", "refs/remotes/origin/a`touch${IFS}pwned`", "HEAD~1")
    summary, output = tmp_path / "summary", tmp_path / "output"
    command, _ = name_in("workflow", "")
    project.run(
        *command,
        BASE="refs/remotes/origin/a`touch${IFS}pwned`",
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_OUTPUT=str(output),
        HEAD_SHA=project.git("rev-parse", "HEAD").strip(),
        **ON_GITHUB,
    )
    report = summary.read_text()
    assert report.startswith("Test accuracy is not compared: ")
    assert "Figures of both commits" in report
    first, *body, last = output.read_text().splitlines()
    assert first == f"markdown<<{last}"
    assert body == report.splitlines()
    assert not (project.path / "pwned").exists()


MARKER = "<!-- review -->"
BOT = "github-actions[bot]"
STAND_IN = f"""#!{sys.executable}
import json, pathlib, subprocess, sys
arguments = sys.argv[1:]
assert arguments.pop(0) == "api"
if "--jq" in arguments:
    assert "--paginate" in arguments
    program = arguments[arguments.index("--jq") + 1]
    for page in json.loads(pathlib.Path("pages.json").read_text()):
        subprocess.run(["jq", "-r", program], input=json.dumps(page), text=True, check=True)
else:
    url = next(a for a in arguments if a.startswith("repos/"))
    method = "PATCH" if "PATCH" in arguments else "POST"
    file = next(a for a in arguments if a.startswith("body=@")).removeprefix("body=@")
    body = pathlib.Path(file).read_text()
    pathlib.Path("asked.json").write_text(json.dumps([method, url, body]))
"""


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([[]], ["POST", "repos/o/r/issues/7/comments"]),
        (
            [[("someone", MARKER), (BOT, "other"), (BOT, f"x{MARKER}"), (BOT, "")]],
            ["POST", "repos/o/r/issues/7/comments"],
        ),
        (
            [
                [("someone", MARKER)],
                [(BOT, "other"), (BOT, f"{MARKER}\n# x"), (BOT, MARKER)],
            ],
            ["PATCH", "repos/o/r/issues/comments/2"],
        ),
    ],
)
@pytest.mark.parametrize("report", ["Test accuracy", "`$x` $(touch pwned)\n" * 3000])
def test_the_comment_is_written_once_and_then_kept_up_to_date(
    tmp_path, pages, expected, report
):
    """GitHub is out of reach: a stand-in of `gh` pipes its pages through the real jq."""
    (step,) = STEPS["comment"]
    ids = iter(range(100))
    listed = [
        [{"id": next(ids), "user": {"login": login}, "body": body} for login, body in page]
        for page in pages
    ]
    (tmp_path / "pages.json").write_text(json.dumps(listed))
    gh = tmp_path / "gh"
    gh.write_text(STAND_IN)
    gh.chmod(0o755)
    env = {"REPOSITORY": "o/r", "NUMBER": "7", "MARKDOWN": report}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = ["bash", "-e", "-c", step["run"]]
    subprocess.run(script, cwd=tmp_path, env=env | {"PATH": path}, check=True)
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert asked == [*expected, f"{MARKER}\n{report}\n"]
    assert not (tmp_path / "pwned").exists()


# The real pipeline


def test_review_needs_no_cache_and_says_that_the_lock_is_current(changed, tmp_path):
    clone = changed.clone(tmp_path / "clone")
    report = review(clone, "HEAD~1")
    old, new = (
        json.loads(clone.git("show", f"{commit}:metrics/evaluate.json"))["test"]["accuracy"]
        for commit in ("HEAD~1", "HEAD")
    )
    assert report.startswith(f"Test accuracy {old:.2%} -> {new:.2%}: ")
    assert re.search(
        r"\| `metrics/model.json` +\| `parameters` +\| 3,114 +\| 5,434 ", report
    )
    assert re.search(r"\| `params.yaml` \| `model.hdim` \| `16` \| `24` \|", report)
    assert report.endswith(
        "\n\nCurrent: it matches the code, the parameters and the data.\n"
    )
    assert not (clone.path / ".dvc/cache").exists()


def test_review_names_the_stages_for_which_the_lock_is_out_of_date(changed, tmp_path):
    clone = changed.clone(tmp_path / "clone")
    clone.set_params({"train": {"epochs": 3}})
    report = review(clone)
    assert "\n\n## Metrics\n\nNo change.\n\n## Parameters\n\n| File " in report
    assert report.endswith("it begins with:\n\n- `train`\n")


def test_a_clone_whose_git_would_write_crlf_has_lf_and_runs(changed, tmp_path):
    option = "core.autocrlf=true"
    changed.git("clone", "--quiet", "--config", option, ".", str(tmp_path / "clone"))
    clone = type(changed)(tmp_path / "clone")
    assert clone.git("config", "core.autocrlf") == "true\n"
    files = [clone.path / name for name in clone.git("ls-files", "-z").split("\0")[:-1]]
    assert len(files) > 50
    assert [f for f in files if b"\r" in f.read_bytes() and f.suffix != ".png"] == []
    assert clone.git("status", "--porcelain") == ""
    shutil.copytree(changed.path / ".dvc/cache", clone.path / ".dvc/cache")
    clone.dvc("checkout")
    assert "up to date" in clone.run("tools/repro")


def test_a_pull_request_shows_the_code_first():
    asked = {
        "dvc.lock": "set",
        "requirements.txt": "set",
        "requirements-scale.txt": "set",
        "plots/confusion.csv": "set",
        "benchmarks/results/x/y.json": "set",
        "metrics/evaluate.json": "unspecified",
        "stages/train.py": "unspecified",
        "src/plots/x.py": "unspecified",
    }
    said = subprocess.run(
        ["git", "check-attr", "linguist-generated", *asked],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert dict(re.findall("^(.*): linguist-generated: (.*)$", said, re.M)) == asked
