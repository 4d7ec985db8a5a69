"""What an edit reruns: exactly the stages whose outputs it can change.

A stage's dependencies are what it imports, as test_pipeline.py holds. So `dvc.yaml` tells
what an edit reruns, and here the real DVC is asked whether it does.
"""

import json
from pathlib import Path

import pytest
import yaml

from sandbox import ran

TRAIN_ON = ["train", "evaluate", "plot", "export"]
LEFT = (
    *("loop.py~", ".loop.py.swp", "a.swo", "#loop.py#", ".#loop.py", "a.orig", "a.bak"),
    *(".ipynb_checkpoints/a.py", ".idea/a", ".vscode/a", "__pycache__/a.pyc"),
    *(".DS_Store", "._a.py", ".directory", "Thumbs.db", "desktop.ini", "Icon\r"),
)


def touched(sandbox):
    """Return the stages that `dvc status` calls changed, in the order of dvc.yaml."""
    status = json.loads(sandbox.dvc("status", "--json"))
    return [
        stage
        for stage in yaml.safe_load(sandbox.text("dvc.yaml"))["stages"]
        if stage in status
    ]


def append(sandbox, file, text):
    with (sandbox.path / file).open("a") as end:
        end.write(text)


def test_what_plumbing_editors_tools_and_systems_leave_touches_nothing(copy):
    for path in (copy.path / "src/mnist_lstm/plumbing").glob("*.py"):
        append(copy, path, "# another word\n")
    for folder in ("page", "src/mnist_lstm/training", "data/raw", "own"):
        for name in LEFT:
            (copy.path / folder / name).parent.mkdir(exist_ok=True)
            (copy.path / folder / name).write_text("?")
    assert touched(copy) == []
    changed = {line[3:] for line in copy.git("status", "--porcelain").splitlines()}
    assert {str(Path(file).parent) for file in changed} == {"src/mnist_lstm/plumbing"}


def test_an_edit_touches_the_stages_that_it_can_change(copy):
    """One of each kind at once: none of them touches `download`, `train` or `evaluate`."""
    append(copy, "src/mnist_lstm/figures.py", "# another word\n")
    append(copy, "stages/describe.py", "# another word\n")
    append(copy, "page/style.css", "/* another word */\n")
    (copy.path / "own/train/cat.bak").mkdir(parents=True)  # a class of that name
    (copy.path / "own/train/cat.bak/1.png").write_text("?")
    assert touched(copy) == ["prepare", "describe", "plot", "export"]
    copy.git("add", "--all")
    assert "own/" not in copy.git("diff", "--cached", "--name-only")  # that is DVC's


def edit(sandbox, file, old, new):
    text = sandbox.text(file)
    assert old in text
    (sandbox.path / file).write_text(text.replace(old, new))


def test_a_new_parameter_of_a_figure_touches_it_alone(copy):
    edit(copy, "params.yaml", "  n_sample:", "  n_column: 3\n  n_sample:")
    typed = "    n_sample: Annotated["
    edit(copy, "src/mnist_lstm/plumbing/params.py", typed, "    n_column: Count\n" + typed)
    assert touched(copy) == ["plot"]


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


@pytest.mark.long
def test_without_dvc_lock_nothing_that_was_run_is_run_again(copy):
    lock = copy.path / "dvc.lock"
    before = lock.read_bytes()
    lock.unlink()
    output = copy.dvc("repro")
    assert ran(output) == []
    assert output.count("is cached - skipping run") == 7
    assert lock.read_bytes() == before
