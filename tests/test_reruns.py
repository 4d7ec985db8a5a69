"""What an edit reruns: exactly the stages whose outputs it can change, by the real DVC.

`dvc status` names the stages that an edit touches; those that follow run again only where
an output has changed.
"""

import json

import pytest
import yaml

from sandbox import ran

TRAIN_ON = ["train", "evaluate", "plot", "export"]
# file, what stands there, what it becomes, the stages that it touches
EDITS = {
    "a comment in the typed parameters": (
        "src/mnist_lstm/plumbing/params.py",
        "class Params(_Section):\n",
        "class Params(_Section):  # A comment.\n",
        [],
    ),
    "the range of a parameter": (
        "src/mnist_lstm/plumbing/params.py",
        "le=65536",
        "le=32768",
        [],
    ),
    "an error message": (
        "src/mnist_lstm/plumbing/errors.py",
        "training diverged; lower",
        "the training diverged; lower",
        [],
    ),
    "the advice of a full disk": (
        "src/mnist_lstm/plumbing/errors.py",
        "make room, then run this again",
        "free some space, then run this again",
        [],
    ),
    "a progress bar": (
        "src/mnist_lstm/plumbing/progress.py",
        'f"epoch {epoch}/{epochs}"',
        'f"epoch {epoch} of {epochs}"',
        [],
    ),
    "what a signal says": (
        "src/mnist_lstm/plumbing/script.py",
        '"interrupted"',
        '"stopped by Ctrl-C"',
        [],
    ),
    "how files are written": (
        "src/mnist_lstm/plumbing/files.py",
        ".part",
        ".partial",
        [],
    ),
    "a title in the figures": (
        "src/mnist_lstm/figures.py",
        "most confident mistakes",
        "worst mistakes",
        ["plot"],
    ),
    "a column of a table of describe": (
        "stages/describe.py",
        '"count": values.numel(),',
        '"count": values.numel(), "mean": values.mean().item(),',
        ["describe"],
    ),
    "a column of predictions.csv": (
        "stages/evaluate.py",
        "classes.assign(",
        "classes.assign(right=classes.actual == classes.predicted, ",
        ["evaluate"],
    ),
    "the training loop": (
        "src/mnist_lstm/training/loop.py",
        "    run.optimizer.zero_grad()\n",
        "    run.optimizer.zero_grad()\n    loss = 0.5 * loss\n",
        ["train"],
    ),
    "how tables are rounded": (
        "src/mnist_lstm/tables.py",
        "_DECIMALS = 6",
        "_DECIMALS = 5",
        ["describe", *TRAIN_ON],
    ),
    "the model": (
        "src/mnist_lstm/model.py",
        "values.zero_()",
        "values.fill_(0.1)",
        ["describe", "train", "evaluate", "plot", "export"],
    ),
    "a word of the explanation": (
        "src/mnist_lstm/explanation.py",
        "so one would do",
        "so one would be enough",
        ["describe"],
    ),
    "a sentence of the model card": (
        "src/mnist_lstm/card.md.jinja",
        "Nobody has tested it for bias.",
        "Nobody has tested it for bias yet.",
        ["export"],
    ),
    "what the ONNX file says of itself": (
        "src/mnist_lstm/onnx_export.py",
        "read row by row.",
        "read by rows.",
        ["export"],
    ),
    "the look of the page": (
        "page/style.css",
        "\n}\n",
        "\n  /* a comment */\n}\n",
        ["export"],
    ),
    "how the page is put together": (
        "src/mnist_lstm/page.py",
        "sort_keys=True, separators",
        "sort_keys=False, separators",
        ["export"],
    ),
    "the steps of an LSTM by hand": (
        "src/mnist_lstm/gates.py",
        "c = f * c + i * g",
        "c = i * g + f * c",
        ["describe", "plot"],
    ),
    "how own pictures are scaled": (
        "src/mnist_lstm/picture.py",
        "Resampling.BILINEAR",
        "Resampling.BICUBIC",
        ["prepare"],
    ),
    "the colour of a mistake": (
        "src/mnist_lstm/figures.py",
        '"tab:red"',
        '"tab:orange"',
        ["plot"],
    ),
}


def edit(sandbox, file, old, new):
    path = sandbox.path / file
    text = path.read_text()
    assert text.count(old) >= 1, f"{file}: no {old!r}"
    path.write_text(text.replace(old, new))


def touched(sandbox):
    """Return the stages that `dvc status` calls changed, in the order of dvc.yaml."""
    status = json.loads(sandbox.dvc("status", "--json"))
    stages = yaml.safe_load(sandbox.text("dvc.yaml"))["stages"]
    assert status.keys() <= stages.keys()
    return [stage for stage in stages if stage in status]


@pytest.fixture(scope="module")
def bench(built, tmp_path_factory):
    """A copy of the built project in which one file is edited at a time."""
    return built.copy(tmp_path_factory.mktemp("bench") / "project")


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_touches_the_stages_that_it_can_change(bench, name):
    file, old, new, expected = EDITS[name]
    edit(bench, file, old, new)
    try:
        assert touched(bench) == expected
    finally:
        bench.git("checkout", "--", file)


LEFT = (
    *("loop.py~", ".loop.py.swp", "a.swo", "#loop.py#", ".#loop.py", "a.orig", "a.bak"),
    *(".ipynb_checkpoints/a.py", ".idea/a", ".vscode/a", "__pycache__/a.pyc"),
    *(".DS_Store", "._a.py", ".directory", "Thumbs.db", "desktop.ini", "Icon\r"),
)


def test_what_editors_tools_and_systems_leave_touches_nothing(copy):
    for folder in ("page", "src/mnist_lstm/training", "data/raw", "own"):
        for name in LEFT:
            (copy.path / folder / name).parent.mkdir(exist_ok=True)
            (copy.path / folder / name).write_text("?")
    assert touched(copy) == []
    assert copy.git("status", "--porcelain") == ""


def test_a_class_of_own_images_may_be_named_as_what_editors_leave(copy):
    (copy.path / "own/train/cat.bak").mkdir(parents=True)
    (copy.path / "own/train/cat.bak/1.png").write_text("?")
    assert touched(copy) == ["prepare"]
    copy.git("add", "own")
    assert copy.git("diff", "--cached", "--name-only") == "own/train/cat.bak/1.png\n"


@pytest.mark.long
def test_what_follows_runs_where_an_output_changed(copy):
    edit(copy, *EDITS["a column of predictions.csv"][:3])
    assert ran(copy.dvc("repro")) == ["evaluate", "plot", "export"]
    edit(copy, *EDITS["a column of a table of describe"][:3])
    assert ran(copy.dvc("repro")) == ["describe"]


def test_what_only_own_images_go_through_trains_no_other_data_set(copy):
    edit(copy, *EDITS["how own pictures are scaled"][:3])
    copy.set_params({"prepare": {"picture": "scale", "height": 9, "test_size": 0.5}})
    assert ran(copy.dvc("repro")) == ["prepare"]


def test_a_new_parameter_of_a_figure_only_draws(copy):
    edit(copy, "params.yaml", "  n_sample:", "  n_column: 3\n  n_sample:")
    typed = "src/mnist_lstm/plumbing/params.py"
    edit(
        copy,
        typed,
        "    n_sample: Annotated[",
        "    n_column: Count\n    n_sample: Annotated[",
    )
    assert touched(copy) == ["plot"]
    assert ran(copy.dvc("repro")) == ["plot"]


@pytest.mark.long
def test_there_and_back_trains_once_each(copy):
    """What was run once is taken from the run-cache, by every stage."""
    copy.set_params({"model": {"hdim": 9}, "prepare": {"valid_size": 100}})
    assert ran(copy.dvc("repro")) == ["prepare", "describe", *TRAIN_ON]
    copy.set_params({"model": {"hdim": 16}, "prepare": {"valid_size": 0}})
    output = copy.dvc("repro")
    assert ran(output) == []
    assert output.count("is cached - skipping run, checking out outputs") == 6
    assert copy.git("status", "--porcelain") == ""


def test_without_dvc_lock_nothing_that_was_run_is_run_again(copy):
    lock = copy.path / "dvc.lock"
    before = lock.read_bytes()
    lock.unlink()
    output = copy.dvc("repro")
    assert ran(output) == []
    assert output.count("is cached - skipping run") == 7
    assert lock.read_bytes() == before
