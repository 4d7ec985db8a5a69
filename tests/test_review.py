"""``make review``: what a reviewer reads, whatever the branch and the clone are.

Most tests need no training: outputs made by hand, which ``dvc commit`` records, are enough.
"""

import contextlib
import math
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo
from playwright.sync_api import sync_playwright

import review
import same
import seeds
import trees
import verdict
from defaults import ALL_ON, DEFAULT, TINY
from mnist_lstm.runs import add, in_full
from sandbox import Sandbox, _environment, create

REVIEW = ("python", "tools/review.py")
STEPS = yaml.safe_load(Path(".github/workflows/review.yml").read_text())["jobs"]["report"][
    "steps"
]
LOOK = next(step["run"] for step in STEPS if step.get("id") == "review")
AUGMENTATION = "src/mnist_lstm/training/augmentation.py"
EVALUATION = "src/mnist_lstm/evaluation.py"
PARAMS = DEFAULT
NO_RUNS = pd.DataFrame(columns=["params", "code", "split", "accuracy"])
FIGURE = "plots/samples.png"
MODEL_METRICS = "metrics/model.json"
AFTER_PREPARE = ("train", "evaluate", "export")


@pytest.fixture(autouse=True, scope="module")
def surroundings():
    """DVC's folders of the tests, also for what runs in this process; not on GitHub."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in _environment().items():
            if key.startswith(("DVC_", "GIT_")):
                patch.setenv(key, value)
        for key in ("GITHUB_REPOSITORY", "GITHUB_SERVER_URL", "HEAD_SHA"):
            patch.delenv(key, raising=False)
        yield


@pytest.fixture(scope="module")
def start(tmp_path_factory, surroundings):
    """A commit with all that a run writes, made by hand; only to be read."""
    project = create(tmp_path_factory.mktemp("review") / "start", TINY)
    with Repo(str(project.path)) as repo:
        outs = [out.def_path for out in repo.index.outs]
    for name in ["data/raw/x", "data/prepared/test.safetensors", *outs[2:]]:
        write(project, name, f"the first {name}")
    write(project, MODEL_METRICS, '{"parameters": 3114}')
    write(project, "metrics/evaluate.json", '{"test": {"loss": 0.0624, "accuracy": 0.5}}')
    write_classes(project, [(0, 0), (1, 0)] * 10)
    (project.path / ".venv").mkdir()  # as after `make .venv/installed`
    project.run("bash", "-c", "cksum <requirements.txt >.venv/installed")
    record(project, "A run")
    return project


@pytest.fixture
def project(start, tmp_path):
    """A copy of that commit, to change."""
    return start.copy(tmp_path / "project")


def write(project, file, text):
    path = project.path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def code(project):
    return trees.code_of(project.path, "HEAD")


def write_classes(project, rows):
    table = "actual,predicted\n" + "".join(f"{a},{p}\n" for a, p in rows)
    write(project, "plots/confusion.csv", table)


def record(project, message):
    """Commit what stands there as if a run had written it."""
    with contextlib.chdir(project.path), Repo() as repo:
        repo.commit(force=True)
    project.commit(message)


def look(project):
    with Repo(str(project.path)) as repo:
        return review.look(repo)


def report(project, base="HEAD~1"):
    """Return the paragraphs of the report against ``base``, which holds a verdict."""
    sha = project.git("rev-parse", base).strip()
    with Repo(str(project.path)) as repo:
        text, ran = review.report(repo, sha)
    assert ran
    return text.split("\n\n")


def side(classes):
    return verdict.Side({}, {}, {}, classes, PARAMS, "")


def compare(old, new):
    return verdict.compare(old, new, {"train.lr"}, NO_RUNS)


def write_runs(project, *accuracies, split="test", code="other", **changes):
    """Add committed training runs, a seed each, with the parameters that stand there."""
    params = trees.params_of(project.path, "HEAD") | changes
    if not (project.path / seeds.ROWS).exists():
        write(project, seeds.ROWS, ",".join(seeds.COLUMNS) + "\n")
    for seed, accuracy in enumerate(accuracies):
        kind = {"params": in_full(params), "code": code, "split": split, "seed": seed}
        add(project.path / seeds.ROWS, kind | {"accuracy": accuracy})


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


# Did an output move?


def test_a_change_that_this_run_does_not_use_is_called_so(project):
    """As a bug in the augmentation, where the run augments nothing."""
    write(project, AUGMENTATION, "a bug")
    project.set_params({"augment": {"fade": 0.5}})
    record(project, "A bug, and run")
    assert report(project)[0] == (
        f"No output moved, though this changed: `{AUGMENTATION}` (train), `augment.fade` "
        f"(train, export). This run does not use `augment.fade`, `{AUGMENTATION}`: every "
        "amplitude in `augment` is 0."
    )
    write(project, EVALUATION, "another word")
    record(project, "Another word, and run")
    assert report(project)[0].endswith(
        f"`{EVALUATION}` (train, evaluate). Every output is the same to the bit: what else "
        "changed alters nothing here."
    )
    write(project, "README.md", "better words")
    write(project, "own/README.md", "better words")
    assert report(project, "HEAD")[0] == (
        "No output moved, and nothing that a stage reads has changed."
    )


def test_what_make_same_recorded_is_called_so(project, monkeypatch):
    write(project, EVALUATION, "another word")
    monkeypatch.chdir(project.path)
    same.record()
    project.commit("Another word, recorded")
    assert report(project)[0].endswith(
        f"Recorded without a run by `make same`: `{EVALUATION}`."
    )
    write(project, EVALUATION, "yet another word")
    record(project, "Another word, run")
    assert "Recorded" not in report(project)[0]


def test_what_is_said_to_be_unused_is_there():
    listed = {name for names, _, _ in verdict.UNUSED for name in names}
    keys = {f"{section}.{key}" for section, keys in PARAMS.items() for key in keys}
    assert all(Path(name).exists() for name in listed - keys)
    used = {section: PARAMS[section] | ALL_ON.get(section, {}) for section in PARAMS}
    used |= {"data": {"name": "own"}, "prepare": {"valid_size": 9}}
    assert not any(is_unused(used) for _, is_unused, _ in verdict.UNUSED)
    assert all(is_unused(PARAMS) for _, is_unused, _ in verdict.UNUSED)


def test_without_runs_over_seeds_there_is_p_and_what_it_says(project):
    write_classes(project, [(0, 0), (1, 0)] * 8 + [(0, 1), (1, 1)] * 2)
    write(project, "metrics/evaluate.json", '{"test": {"loss": 0.0712, "accuracy": 0.5}}')
    project.set_params({"train": {"lr": 7.0}})
    record(project, "Another learning rate")
    first, what_p_says, flips, changed, moved, against, *tables = report(project)
    assert first == ("Test accuracy 50.00% -> 50.00%, +0.00 points; exact McNemar p = 1.")
    assert "Another seed alone often moves as many images" in what_p_says
    assert "`make seeds`" in what_p_says
    assert flips == (
        "- Newly wrong: 2, most often `0` as `1` (2); such as 16, 18\n"
        "- Newly right: 2, most often `1` as `0` (2); such as 17, 19"
    )
    assert changed == "Changed: `train.lr` (train, export)."
    assert moved == "Outputs that moved: `metrics/evaluate.json`, `plots/confusion.csv`."
    assert against == f"Compared with commit {project.git('rev-parse', 'HEAD~1')[:10]}."
    assert re.search(
        r"\| metrics/evaluate.json \| test.loss +\| 0.0624 +\| 0.0712 ", tables[1]
    )
    assert re.search(r"\| params.yaml \| train.lr +\| 0.01 +\| 7.0 ", tables[3])


WORSE = [(0, 0), (1, 0)] * 8 + [(0, 1), (1, 0)] * 2  # 40% right, where the base has 50%


@pytest.mark.parametrize(
    ("spread", "noise"), [(0.01, "beyond noise"), (0.1, "within noise")]
)
def test_a_difference_stands_beside_the_spread_of_seeds(project, spread, noise):
    """Of the new parameters' runs or, as here, of the base's."""
    write_runs(project, 0.5 - spread, 0.5, 0.5 + spread)
    write_classes(project, WORSE)
    project.set_params({"model": {"hdim": 64}})
    record(project, "hdim 64")
    two_runs = 100 * spread * 2**0.5 * 4.302653  # Student's t, 2 degrees of freedom
    assert report(project)[0] == (
        "Test accuracy 50.00% -> 40.00%, -10.00 points; seeds of this recipe differ by "
        f"{100 * spread:.2f} (standard deviation, n = 3): {noise} (two runs differ by less "
        f"than {two_runs:.2f} in 19 of 20 cases)."
    )


def test_another_seed_is_noise_whatever_p_is(project):
    write_runs(project, 0.49, 0.5, 0.51)
    write_classes(project, WORSE)
    project.set_params({"train": {"seed": 7}})
    record(project, "Another seed")
    assert report(project)[0] == (
        "Test accuracy 50.00% -> 40.00%, -10.00 points: only the seed differs, so this is "
        "noise; seeds of this recipe differ by 1.00 (standard deviation, n = 3)."
    )


def test_where_both_have_runs_over_seeds_their_means_decide(project):
    """Here the committed run is worse, and the recipe better."""
    prepare = trees.params_of(project.path, "HEAD")["prepare"] | {"valid_size": 20}
    kind = {"split": "valid", "prepare": prepare}
    write_runs(project, 0.49, 0.5, 0.51, code=code(project), **kind)
    write_classes(project, WORSE)
    project.set_params({"train": {"lr": 7.0}})
    record(project, "A better recipe")
    write_runs(project, 0.59, 0.6, 0.61, code=code(project), **kind)
    first, second, *_ = report(project)
    assert first == (
        "Over 3 and 3 seeds, on the validation split: 50.00% ± 1.00 -> 60.00% ± 1.00, "
        "+10.00 points, 95% interval +7.73 to +12.27 by Welch's t-test: beyond noise."
    )
    assert second == (
        "Of the two committed runs: Test accuracy 50.00% -> 40.00%, -10.00 points."
    )
    write(project, EVALUATION, "other code")
    record(project, "Other code than that of the runs")
    assert report(project, "HEAD~2")[0].startswith("Test accuracy 50.00% -> 40.00%, -10.00")


def test_p_is_mcnemars_exact_one():
    old = side([(0, int(n < 170)) for n in range(10_000)])
    new = side([(0, int(41 <= n < 41 + 197)) for n in range(10_000)])
    tail = sum(math.comb(109, k) for k in range(42))
    assert f"{2 * tail / 2**109:.2g}" == "0.012"
    assert compare(old, new).startswith(
        "Test accuracy 98.30% -> 98.03%, -0.27 points; exact McNemar p = 0.012.\n\n"
    )
    assert "p < 0.0001" in compare(side([(1, 0)] * 100), side([(1, 1)] * 100))
    other = side([(0, n + n) for _, n in old.classes])  # otherwise wrong
    assert "McNemar p = 1." in compare(old, other)


def test_twelve_images_at_most_are_named(project):
    old, new = side([(1, 0)] * 50 + [(1, 1)] * 50), side([(1, 1)] * 50 + [(1, 0)] * 50)
    assert verdict.sheet(old, new) == [*range(50, 56), *range(6)]
    new = side([(1, 1)] * 2 + [(1, 0)] * 98)
    assert verdict.sheet(old, new) == [*range(50, 60), 0, 1]


def test_models_on_other_test_images_are_not_compared(project):
    write(project, "data/prepared/test.safetensors", "of another data set")
    record(project, "Other test images")
    other = "Test accuracy is not compared: the test images are not the same."
    assert report(project)[0] == other
    assert compare(side([(1, 1)] * 20), side([(2, 1)] * 20)) == other
    assert compare(side([(1, 1)] * 20), side([(1, 1)] * 19)) == other


def test_figures_that_moved_are_shown_old_and_new(project, monkeypatch):
    write(project, FIGURE, "a new one")
    record(project, "Other figures")
    old, new = project.git("rev-parse", "HEAD~1", "HEAD").split()
    first, *_, shown, _, _, _, _ = report(project)
    assert "each image is predicted the same" in first
    path = re.search(f"\\| `(.*)` \\| `{FIGURE}` \\|", shown)[1]
    assert project.text(path) == f"the first {FIGURE}"
    monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
    # The head of a pull request is not what is checked out: that is a merge.
    monkeypatch.setenv("HEAD_SHA", new)
    pages = [f"https://github.com/o/r/blob/{sha}/{FIGURE}" for sha in (old, new)]
    links = [f"[![{FIGURE}]({page}?raw=true)]({page})" for page in pages]
    assert f"| {links[0]} | {links[1]} |" in report(project)[-5]


def test_a_report_of_any_size_fits_a_comment(start):
    short = "a line\n\N{GRINNING FACE}"
    assert review.shorten(short, "a" * 40) == short
    text = review.shorten("| \N{GRINNING FACE} |\n" * 100_000, "a" * 40)
    assert len(text.encode()) < 65_000
    assert re.search(r"\|\n\nCut here: `dvc metrics diff a{10}` and .* print all\.$", text)
    assert verdict.listed(["a"] * 25).endswith("a, 5 more")


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


@pytest.mark.parametrize(
    ("file", "side"), [("dvc.lock", "workspace"), ("params.yaml", "base")]
)
def test_a_conflict_that_is_left_is_dvcs_error(project, file, side):
    before = project.text(file)
    write(project, file, f"<<<<<<< ours\n{before}")
    if side == "base":
        project.commit("A conflict")
        write(project, file, before)
    with pytest.raises(DvcException):
        report(project, "HEAD")


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
    assert "Wrong images, in percent" in html
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
