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


@pytest.mark.long
def test_there_and_back_trains_once_each_and_without_dvc_lock_nothing_runs_again(copy):
    """What was run once is taken from the run-cache, by every stage."""
    before = copy.text("dvc.lock")
    copy.set_params({"model": {"hdim": 9}, "prepare": {"valid_size": 100}})
    output = copy.dvc("repro")
    assert ran(output) == ["prepare", "describe", *TRAIN_ON]
    assert "valid: 100 images" in output
    scores = json.loads(copy.text("metrics/evaluate.json"))
    assert scores.keys() == {"train", "valid", "test"}
    copy.set_params({"model": {"hdim": 16}, "prepare": {"valid_size": 0}})
    (copy.path / "dvc.lock").unlink()
    output = copy.dvc("repro")
    assert ran(output) == []
    assert output.count("is cached - skipping run") == 7
    assert copy.text("dvc.lock") == before
    assert copy.git("status", "--porcelain") == ""
