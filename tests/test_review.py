"""What ``make review`` says of a change; each decision with real commits."""

import contextlib
import re
from pathlib import Path

import pytest

import review
import same
import seeds
import trees
import verdict
from defaults import ALL_ON, DEFAULT
from mnist_lstm.runs import add, in_full
from reviewed import (  # fixtures
    AUGMENTATION,
    FIGURE,
    project,
    record,
    report,
    start,
    surroundings,
    write,
    write_classes,
)

pytestmark = pytest.mark.long

EVALUATION = "src/mnist_lstm/evaluation.py"
WORSE = [(0, 0), (1, 0)] * 8 + [(0, 1), (1, 0)] * 2  # 40% right, where the base has 50%
SPREAD = "seeds of this recipe differ by 1.00 (standard deviation, n = 3)"


def write_runs(project, *accuracies, split="test", code="other", **changes):
    """Add committed training runs, a seed each, with the parameters that stand there."""
    with contextlib.chdir(project.path):
        params = trees.params_of("HEAD") | changes
        kind = {"params": in_full(params), "split": split}
        kind["code"] = code or trees.code_of("HEAD", params)
        if not seeds.ROWS.exists():
            write(project, seeds.ROWS, ",".join(seeds.COLUMNS) + "\n")
        for seed, accuracy in enumerate(accuracies):
            add(seeds.ROWS, kind | {"seed": seed, "accuracy": accuracy})


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
    assert report(project)[0].endswith(
        f"`{EVALUATION}` (train, evaluate). Every output is the same to the bit: what else "
        "changed alters nothing here."
    )


def test_what_is_said_to_be_unused_is_there():
    listed = {name for names, _, _ in verdict.UNUSED for name in names.split()}
    keys = {f"{section}.{key}" for section, keys in DEFAULT.items() for key in keys}
    assert all(Path(name).exists() for name in listed - keys)
    used = {section: DEFAULT[section] | ALL_ON.get(section, {}) for section in DEFAULT}
    used |= {"data": {"name": "own"}, "prepare": {"valid_size": 9}}
    assert not any(is_unused(used) for _, is_unused, _ in verdict.UNUSED)
    assert all(is_unused(DEFAULT) for _, is_unused, _ in verdict.UNUSED)


def test_without_runs_over_seeds_there_is_p_and_what_it_says(project):
    write_classes(project, [(0, 1), (1, 0)] * 8 + [(0, 0), (1, 1), (0, 0), (1, 0)])
    write(project, "metrics/evaluate.json", '{"test": {"loss": 0.0712, "accuracy": 0.5}}')
    project.set_params({"train": {"lr": 7.0}})
    record(project, "Another learning rate")
    first, what_p_says, flips, changed, moved, against, *tables = report(project)
    p = 2 * (1 + 9) / 2**9  # that one or none of nine coins shows heads, or tails
    change = "Test accuracy 50.00% -> 15.00%, -35.00 points"
    assert first == f"{change}; exact McNemar p = {p:.2g}."
    assert "Another seed alone often moves as many images" in what_p_says
    assert "`make seeds`" in what_p_says
    assert flips == (
        "- Newly wrong: 8, most often `0` as `1` (8); such as 0, 2, 4, 6, 8, 10\n"
        "- Newly right: 1, most often `1` as `0` (1); such as 17"
    )
    assert changed == "Changed: `train.lr` (train, export)."
    assert moved == "Outputs that moved: `metrics/evaluate.json`, `plots/confusion.csv`."
    assert against == f"Compared with commit {project.git('rev-parse', 'HEAD~1')[:10]}."
    assert re.search(r"evaluate.json \| test.loss +\| 0.0624 +\| 0.0712 ", tables[1])
    assert re.search(r"\| params.yaml \| train.lr +\| 0.01 +\| 7.0 ", tables[3])


def test_a_difference_stands_beside_the_spread_of_seeds(project):
    """Of the new parameters' runs or, as here, of the base's."""
    write_runs(project, 0.49, 0.5, 0.51)
    write_classes(project, WORSE)
    project.set_params({"model": {"hdim": 64}})
    record(project, "hdim 64")
    two_runs = 2**0.5 * 4.302653  # Student's t, 2 degrees of freedom
    assert report(project)[0] == (
        f"Test accuracy 50.00% -> 40.00%, -10.00 points; {SPREAD}: beyond noise (two runs "
        f"differ by less than {two_runs:.2f} in 19 of 20 cases)."
    )


def test_another_seed_is_noise_whatever_p_is(project):
    on_another_machine = {"device": "auto", "precision": "bf16"}
    write_classes(project, WORSE)
    project.set_params({"train": {"seed": 7}})
    record(project, "Another seed")
    with contextlib.chdir(project.path):
        train = trees.params_of("HEAD")["train"] | on_another_machine
    write_runs(project, 0.49, 0.5, 0.51, train=train)
    assert report(project)[0] == (
        "Test accuracy 50.00% -> 40.00%, -10.00 points: only the seed differs, so this is "
        f"noise; {SPREAD}."
    )


def test_where_both_have_runs_over_seeds_their_means_decide(project):
    """Here the committed run is worse, and the recipe better."""
    with contextlib.chdir(project.path):
        prepare = trees.params_of("HEAD")["prepare"] | {"valid_size": 20}
    kind = {"split": "valid", "prepare": prepare, "code": ""}
    write_runs(project, 0.49, 0.5, 0.51, **kind)
    write_classes(project, WORSE)
    project.set_params({"train": {"lr": 7.0}})
    record(project, "A better recipe")
    write_runs(project, 0.59, 0.6, 0.61, **kind)
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


def test_models_on_other_test_images_are_not_compared(project):
    write(project, "data/prepared/test.safetensors", "of another data set")
    record(project, "Other test images")
    other = "Test accuracy is not compared: the test examples are not the same."
    assert report(project)[0] == other


def test_figures_that_moved_are_shown_old_and_new(project, monkeypatch):
    write(project, FIGURE, "a new one")
    record(project, "Other figures")
    old, new = project.git("rev-parse", "HEAD~1", "HEAD").split()
    first, *_, shown, _, _, _, _ = report(project)
    assert "each example is predicted the same" in first
    path = re.search(f"\\| `(.*)` \\| `{FIGURE}` \\|", shown)[1]
    assert project.text(path) == f"the first {FIGURE}"
    monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
    # The head of a pull request is not what is checked out: that is a merge.
    monkeypatch.setenv("HEAD_SHA", new)
    pages = [f"https://github.com/o/r/blob/{sha}/{FIGURE}" for sha in (old, new)]
    links = [f"[![{FIGURE}]({page}?raw=true)]({page})" for page in pages]
    assert f"| {links[0]} | {links[1]} |" in report(project)[-5]


def test_a_report_of_any_size_fits_a_comment():
    assert review.shorten("a line\nanother", "a" * 40) == "a line\nanother"
    text = review.shorten("| a row |\n" * 100_000, "a" * 40)
    assert len(text) < 65_000
    assert re.search(r"\|\n\nCut here: `dvc metrics diff a{10}` and .* print all\.$", text)
    assert verdict.listed(["a"] * 25).endswith("`a`, 5 more")
