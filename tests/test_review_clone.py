"""``make review`` where it finds things stale, hostile, or missing; and its page."""

import contextlib
import re
from pathlib import Path

import pytest
import yaml

import review
import trees
import verdict
from reviewed import (  # fixtures
    AUGMENTATION,
    FIGURE,
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
    with contextlib.chdir(project.path):
        text, ran = review.report(trees.find_commit("HEAD~1"))
    assert not ran
    assert text.startswith(
        "**Not run: `dvc repro`, then look again.** dvc.lock does not belong to:\n\n"
        f"- train: `{AUGMENTATION}`, `train.lr`\n- export: `train.lr`\n\n"
    )
    assert "accuracy" not in text
    record(project, "Run")
    assert "It was not run itself (train, export)" in report(project)[-5]
    assert "not run" not in "".join(report(project, "HEAD~2"))


def change_a_command(project):
    text = project.text("dvc.yaml").replace("python stages/plot", "python -O stages/plot")
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
        (lambda p: write(p, "own/train/a/1.png", "x"), {"prepare": ["own"]}),
        (change_a_command, {"plot": ["dvc.yaml"]}),
        (run_prepare_alone, {stage: ["data/prepared"] for stage in AFTER_PREPARE}),
    ],
)
def test_a_stage_is_stale_by_what_git_holds(project, change, stale):
    change(project)
    assert look(project).stale == stale


def test_data_and_models_may_be_missing_or_of_another_commit(project, tmp_path):
    write(project, "own/train/a/1.png", "a picture that Git does not hold")
    record(project, "Own pictures")
    assert look(project.clone(tmp_path / "clone")).stale == {}
    write(project, "models/model.safetensors", "of another branch")
    assert look(project).stale == {}


def test_what_never_ran_is_stale_and_no_base_to_compare_with(project):
    project.git("checkout", "--quiet", "HEAD~1")
    new = look(project)
    assert list(new.stale) == "download prepare describe train evaluate plot export".split()
    assert "- train: it never ran" in verdict.not_run(new, [])
    project.git("checkout", "--quiet", "main")
    missing = "plots/confusion.csv is missing on one side."
    assert report(project)[0] == f"Test accuracy is not compared: {missing}"


# The base


def run_step(project, base):
    """Run the workflow's step against ``base``, as GitHub does."""
    files = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output.md"}
    return project.run("bash", "-e", "-c", LOOK, BASE=base, **files)


def test_no_name_of_a_branch_runs_or_is_mangled(project):
    names = ["`touch${IFS}pwned`", "$(shell touch pwned)", "'$(touch pwned)\"$HOME", ""]
    said = [project.run("make", "review", f"BASE={name}", ok=False) for name in names]
    said += [run_step(project, name) for name in names[:2]]
    for name, output in zip([*names, *names[:2]], said, strict=True):
        assert output.startswith(f"error: BASE={name!r} is not a known commit; name a")
    assert not list(project.path.rglob("*pwned*"))


def test_the_step_hands_the_report_and_its_status_on(project):
    """The next step ends the job with that status: red where nothing was run."""
    name = "a`touch${IFS}pwned`$(touch${IFS}pwned);touch${IFS}pwned"
    project.git("update-ref", f"refs/heads/{name}", "HEAD")
    for lr, status, says in ((0.01, "0", "No output moved"), (0.5, "2", "**Not run: ")):
        project.set_params({"train": {"lr": lr}})
        (project.path / "output.md").unlink(missing_ok=True)
        run_step(project, f"refs/heads/{name}")
        first, second, *body, last = project.text("output.md").splitlines()
        assert (first, second) == (f"status={status}", f"markdown<<{last}")
        assert body == project.text("review.md").splitlines()
        assert body[0].startswith(says)
    assert STEPS[-1]["run"] == 'exit "$STATUS"'
    assert not list(project.path.glob("*pwned*"))


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


def test_the_page_shows_curves_figures_and_images_that_flipped_at_any_width(changed, show):
    path = changed.path / "review.html"
    changed.run(*REVIEW, "HEAD~1", path.name)
    html = path.read_text()
    for name in ("confusion", "samples", "learning_curve"):
        assert f"plots/{name}.png, base" in html
        assert f"plots/{name}.png, here" in html
    assert "Wrong examples, in percent" in html
    flipped = re.findall(r"<figcaption>(\d+): (\d), read as (\d), now (\d)<", html)
    assert len(flipped) == 2 * verdict.SHOWN
    table = changed.table("plots/confusion.csv")
    for number, actual, before, after in flipped:
        assert list(table.iloc[int(number)].astype(str)) == [actual, after]
        assert (before == actual) != (after == actual)
    for width in (360, 800, 1400):
        tab = show(path, viewport={"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_a_clone_whose_git_would_write_crlf_has_lf(changed, tmp_path):
    option = "core.autocrlf=true"
    changed.git("clone", "--quiet", "--config", option, ".", str(tmp_path / "clone"))
    clone = Sandbox(tmp_path / "clone")
    files = [clone.path / name for name in clone.git("ls-files", "-z").split("\0")[:-1]]
    text = [file for file in files if file.suffix not in (".png", ".gif")]
    assert [file for file in text if b"\r" in file.read_bytes()] == []
    assert clone.git("status", "--porcelain") == ""
