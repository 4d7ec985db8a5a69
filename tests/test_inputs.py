"""What is edited while a stage runs; under the real DVC, see test_resume.py."""

import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from defaults import DEFAULT
from mnist_lstm.plumbing import inputs
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.training.checkpoint import checkpoint_key


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A stage that has begun in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    params = DEFAULT | {"train": DEFAULT["train"] | {"lr": 0.001}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    Path("dvc.yaml").write_text("stages: {x: {deps: [a.py, b], params: [model, train.lr]}}")
    Path(".dvcignore").write_text("__pycache__\n*~\n")
    Path("b/__pycache__").mkdir(parents=True)
    for name in ("a.py", "b/c.py", "plumbing.py"):
        Path(name).write_text("code")
    monkeypatch.setattr(sys, "argv", ["stages/x.py"])
    monkeypatch.setattr(inputs, "_stage", {})  # to go back to
    monkeypatch.setattr(inputs, "_found", {})
    inputs.remember()


def write(name, text):
    return lambda: Path(name).write_text(text)


def params(old, new):
    def edit(path=Path("params.yaml")):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (params(" lr: 0.001", " lr: 2e-3"), "train.lr (0.001, now 0.002)"),
        (params(" lr: 0.001", " lr:0.001"), "params.yaml: not YAML: "),  # half-written
        (write("a.py", "edit"), "a.py (#, now #)"),  # as long as before
        (write("b/d.py", ""), "b/d.py (absent, now #)"),
        (Path("b/c.py").unlink, "b/c.py (#, now absent)"),
        (write("params.yaml", "{}"), "model.dropout (0.0, now absent), model."),
    ],
)
def test_what_is_edited_while_a_stage_runs_is_named(begun, edit, told):
    edit()
    with pytest.raises(UserError) as caught:
        inputs.refuse_changes()
    line = re.sub(r"\b[0-9a-f]{12}\b", "#", str(caught.value))
    assert line.removeprefix("changed while this ran: ").startswith(told)
    assert len(line) < 250  # few changes of many
    with pytest.raises(UserError):  # or the old code's checkpoints would be the new code's
        checkpoint_key({}, [], "cpu")


@pytest.mark.parametrize(
    "edit",
    [
        params(" lr: 0.001", " lr: 1e-3  # a comment"),
        params("plot:\n", "plot:\n  new: 1\n"),  # of another stage
        write("plumbing.py", "edit"),
        write("b/__pycache__/c.pyc", ""),
        write("b/c.py~", ""),
        write("dvc.yaml", "stages: {}"),
        lambda: os.utime("a.py"),
    ],
)
def test_an_edit_that_changes_nothing_in_dvcs_record_ends_no_stage(begun, edit):
    edit()
    inputs.refuse_changes()
