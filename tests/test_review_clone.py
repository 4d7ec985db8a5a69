"""``make review`` where it finds things stale, hostile, or missing; and its page."""

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from playwright.sync_api import sync_playwright

import review
import trees
import verdict
from reviewed import (  # fixtures
    AUGMENTATION,
    FIGURE,
    MODEL_METRICS,
    look,
    project,
    record,
    report,
    start,
    surroundings,
    write,
)
from sandbox import Sandbox

pytestmark = pytest.mark.long

REVIEW = ("python", "tools/review.py")
STEPS = yaml.safe_load(Path(".github/workflows/review.yml").read_text())["jobs"]["report"][
    "steps"
]
LOOK = next(step["run"] for step in STEPS if step.get("id") == "review")
AFTER_PREPARE = ("train", "evaluate", "export")


# Was it run?


def test_without_a_run_there_is_no_verdict(project):
    write(project, AUGMENTATION, "a bug")
    project.set_params({"train": {"lr": 0.002}})
    project.commit("Not run")
    with Repo(str(project.path)) as repo:
        text, ran = review.report(repo, project.git("rev-parse", "HEAD~1").strip())
    assert not ran
    assert text.startswith(
        "**Not run: `dvc repro`, then look again.** dvc.lock does not belong to:\n\n"
        f"- train: `{AUGMENTATION}`, `train.lr`\n- export: `train.lr`\n\n"
    )
    assert "accuracy" not in text


def change_a_command(project):
    text = project.text("dvc.yaml").replace("python stages/plot", "python -O stages/plot")
    write(project, "dvc.yaml", text)


def add_an_output(project):
    page = "      - models/page.html\n"
    text = project.text("dvc.yaml").replace(page, page.replace("page.html", "more") + page)
    write(project, "dvc.yaml", text)


def run_prepare_alone(project):
    """Leave the lock of a run that ended after `prepare`."""
    lock = yaml.safe_load(project.text("dvc.lock"))
    lock["stages"]["prepare"]["outs"][0]["md5"] = "0" * 32 + ".dir"
    write(project, "dvc.lock", yaml.safe_dump(lock))


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda p: write(p, "page/new.js", ""), {"export": ["page"]}),
        (lambda p: p.set_params({"plot": {"seed": 1}}), {"plot": ["plot"]}),
        (lambda p: (p.path / FIGURE).unlink(), {"plot": [FIGURE]}),
        (lambda p: write(p, MODEL_METRICS, "{}"), {"describe": [MODEL_METRICS]}),
        (lambda p: write(p, "own/train/a/1.png", "x"), {"prepare": ["own"]}),
        (change_a_command, {"plot": ["dvc.yaml"]}),
        (add_an_output, {"export": ["models/more"]}),
        (run_prepare_alone, {stage: ["data/prepared"] for stage in AFTER_PREPARE}),
    ],
)
def test_a_stage_is_stale_by_what_git_holds(project, change, stale):
    change(project)
    assert look(project).stale == stale


def test_data_and_models_may_be_missing_or_of_another_commit(project, tmp_path):
    write(project, "own/train/a/1.png", "a picture that Git does not hold")
    with contextlib.chdir(project.path), Repo() as repo:
        repo.commit(force=True)
    project.git("add", "dvc.lock")
    project.git("commit", "--quiet", "--message", "Own pictures")
    clone = project.clone(tmp_path / "clone")
    assert look(clone).stale == {}
    write(project, "models/model.safetensors", "of another branch")
    assert look(project).stale == {}


def test_what_never_ran_is_stale_and_no_base_to_compare_with(project):
    project.git("checkout", "--quiet", "HEAD~1")
    new = look(project)
    assert list(new.stale) == "download prepare describe train evaluate plot export".split()
    assert "- train: it never ran" in verdict.not_run(new, [])
    project.git("checkout", "--quiet", "main")
    first, changed, moved, *_ = report(project)
    assert first == (
        "Test accuracy is not compared: plots/confusion.csv is missing on one side."
    )
    assert changed == "Changed: nothing that a stage reads."
    assert "`plots/confusion.csv`" in moved


def test_a_base_that_was_not_run_is_told(project):
    write(project, AUGMENTATION, "changed")
    project.commit("Not run")
    record(project, "Run")
    assert "It was not run itself (train)" in report(project)[-5]
    assert "not run" not in "".join(report(project, "HEAD~2"))


# The base


UNKNOWN = "is not a known commit; name a branch, a tag or a commit"
HOSTILE_NAMES = [
    "`touch${IFS}pwned`",
    "$(shell touch pwned)",
    "a;touch${IFS}pwned|touch${IFS}pwned>pwned",
    "'$(touch pwned)\"$HOME",
    "--output=pwned",
    "",
]


def name_in(make, name):
    """Return a command that reviews against ``name``, and its environment."""
    if make == "argument":
        return ["make", "review", f"BASE={name}"], {}
    command = ["bash", "-e", "-c", LOOK] if make == "workflow" else ["make", "review"]
    files = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output.md"}
    return command, files | {"BASE": name}


@pytest.mark.parametrize("make", ["argument", "environment", "workflow"])
def test_no_name_of_a_branch_runs_or_is_mangled(project, make):
    for name in HOSTILE_NAMES if make == "argument" else HOSTILE_NAMES[:2]:
        command, env = name_in(make, name)
        output = project.run(*command, ok=make == "workflow", **env)
        assert output.splitlines()[0].startswith(f"error: BASE={name!r} {UNKNOWN}")
    assert not list(project.path.rglob("*pwned*"))


def test_the_step_hands_the_report_and_its_status_on(project):
    """The next step ends the job with that status: red where nothing was run."""
    name = "a`touch${IFS}pwned`$(touch${IFS}pwned);touch${IFS}pwned"
    project.git("update-ref", f"refs/heads/{name}", "HEAD")
    command, env = name_in("workflow", f"refs/heads/{name}")
    for lr, status, says in ((0.01, "0", "No output moved"), (0.5, "2", "**Not run: ")):
        project.set_params({"train": {"lr": lr}})
        (project.path / "output.md").unlink(missing_ok=True)
        project.run(*command, **env)
        first, second, *body, last = project.text("output.md").splitlines()
        assert (first, second) == (f"status={status}", f"markdown<<{last}")
        assert body == project.text("review.md").splitlines()
        assert body[0].startswith(says)
    assert STEPS[-1]["run"] == 'exit "$STATUS"'
    assert not list(project.path.glob("*pwned*"))


def test_no_make_that_a_recipe_runs_expands_the_name(project):
    write(project, "below.mk", "below:\n\t@echo below\n")
    write(project, "above.mk", "above:\n\t@$(MAKE) -f below.mk\n")
    command = ["make", "-f", "Makefile", "-f", "above.mk", "above"]
    assert "below\n" in project.run(*command, "BASE=$(shell touch pwned)")
    assert not (project.path / "pwned").exists()


def test_a_folder_without_history_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match="error: fatal: not a git repository"):
        trees.find_commit(tmp_path, "main")


def test_a_partial_clone_fetches_what_it_lacks(project, tmp_path):
    write(project, ".dvcignore", "/.venv\n")  # of the earlier one, only DVC reads it
    project.set_params({"train": {"seed": 7}})
    record(project, "Another run")
    for key in ("allowFilter", "allowAnySHA1InWant"):
        project.git("config", f"uploadpack.{key}", "true")
    source = f"file://{project.path}"
    project.git("clone", "--quiet", "--filter=blob:none", source, "../partial")
    clone = Sandbox(tmp_path / "partial")
    assert "\n?" in clone.git("rev-list", "--objects", "--missing=print", "HEAD")
    output = clone.run("timeout", "60", *REVIEW, "HEAD~1")
    assert output.startswith("No output moved, though this changed: `train.seed` ")


# The real pipeline


def test_review_needs_no_cache(changed, tmp_path):
    clone = changed.clone(tmp_path / "clone")
    text = clone.run(*REVIEW, "HEAD~1")
    assert re.match(r"Test accuracy \d\d\.\d\d% -> \d\d\.\d\d%, [+-]", text)
    assert "Changed: `model.hdim` (describe, train, evaluate, plot, export).\n" in text
    assert re.search(r"\| metrics/model.json +\| parameters +\| 3114 +\| 5434 ", text)
    assert re.search(r"\| params.yaml \| model.hdim +\| 16 +\| 24 ", text)
    assert not (clone.path / ".dvc/cache").exists()


def test_the_page_shows_curves_figures_and_images_that_flipped_at_any_width(
    changed, tmp_path
):
    path = tmp_path / "review.html"
    changed.run(*REVIEW, "HEAD~1", str(path))
    html = path.read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    for name in ("confusion", "samples", "learning_curve"):
        assert f"plots/{name}.png, base" in html
        assert f"plots/{name}.png, here" in html
    assert "Wrong examples, in percent" in html
    flipped = re.findall(r"<figcaption>(\d+): (\d), read as (\d), now (\d)<", html)
    assert len(flipped) == verdict.SHEET
    table = changed.table("plots/confusion.csv")
    for number, actual, before, after in flipped:
        assert list(table.iloc[int(number)].astype(str)) == [actual, after]
        assert (before == actual) != (after == actual)
    if not (browser := shutil.which("chromium")):
        pytest.skip("no browser here")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for width in (360, 800, 1400):
            tab = chromium.new_page(viewport={"width": width, "height": 900})
            tab.goto(path.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") == width
        chromium.close()


def test_a_clone_whose_git_would_write_crlf_has_lf_and_runs(changed, tmp_path):
    option = "core.autocrlf=true"
    changed.git("clone", "--quiet", "--config", option, ".", str(tmp_path / "clone"))
    clone = Sandbox(tmp_path / "clone")
    assert clone.git("config", "core.autocrlf") == "true\n"
    files = [clone.path / name for name in clone.git("ls-files", "-z").split("\0")[:-1]]
    assert len(files) > 50
    assert [
        f for f in files if b"\r" in f.read_bytes() and f.suffix not in (".png", ".gif")
    ] == []
    assert clone.git("status", "--porcelain") == ""
    shutil.copytree(changed.path / ".dvc/cache", clone.path / ".dvc/cache")
    clone.dvc("checkout")
    assert "up to date" in clone.run("tools/repro")


def test_a_pull_request_shows_the_code_first():
    generated = ["dvc.lock", "requirements.txt", "plots/x.csv", "benchmarks/results/y.json"]
    shown = ["metrics/evaluate.json", "stages/train.py", "src/plots/x.py"]
    asked = ["git", "check-attr", "linguist-generated", *generated, *shown]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    assert re.findall("^(.*): linguist-generated: set$", said, re.M) == generated
