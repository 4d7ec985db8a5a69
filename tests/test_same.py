"""``make same`` records an edit that changes no output, and only such an edit."""

import shutil

import dvc.repo  # noqa: F401 - here, as its log keeps the stream that it finds first
import pytest
import yaml

import same
from mnist_lstm.plumbing.errors import UserError

pytestmark = pytest.mark.long
EVALUATION = "src/mnist_lstm/evaluation.py"


@pytest.fixture
def project(copy, monkeypatch):
    """The built project, the folder to work in; one small run has to do for the test."""
    monkeypatch.chdir(copy.path)
    monkeypatch.setattr(same, "RUNS", {"plain": f"{same.SMALL} train.epochs=1"})
    return copy


def edit(project, old="def score", new="# A comment.\ndef score", file=EVALUATION):
    text = project.text(file)
    assert old in text
    (project.path / file).write_text(text.replace(old, new))


def test_a_comment_is_recorded_without_a_run(project, capsys):
    outs = project.text("models/README.md")
    edit(project)
    assert "evaluation.py" in project.dvc("status")
    same.main()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("plain: 1")
    assert said[-1] == f"recorded in dvc.lock, without a run: {EVALUATION}"
    assert "up to date" in project.dvc("status")
    assert project.text("models/README.md") == outs


def test_a_clone_that_has_fetched_nothing_keeps_the_outputs_of_its_lock(project):
    before = yaml.safe_load(project.text("dvc.lock"))["stages"]
    for fetched in ("data", "models", ".dvc/cache"):
        shutil.rmtree(project.path / fetched)
    edit(project)
    same.refuse_other_changes()
    same.record()
    after = yaml.safe_load(project.text("dvc.lock"))["stages"]
    assert all(after[name]["outs"] == before[name]["outs"] for name in before)
    assert "evaluation.py" not in project.dvc("status")


def test_an_edit_that_only_own_sequences_meet_is_refused(project, monkeypatch):
    small = f"{same.SEQUENCES} train.epochs=1"
    monkeypatch.setattr(same, "RUNS", {"own sequences": small})
    lock = project.text("dvc.lock")
    (project.path / "own/test/dark").mkdir(parents=True)  # the user's: in no one's way
    edit(project, "(squares / n)", "(squares / n + 1)", "src/mnist_lstm/data/scaling.py")
    with pytest.raises(UserError, match=r"own sequences: not the same: .*data/prepared"):
        same.main()
    assert project.text("dvc.lock") == lock


def test_other_parameters_and_other_outputs_are_refused_at_once(project):
    (project.path / "metrics/evaluate.json").write_text("{}")
    with pytest.raises(UserError, match=r"not the outputs of dvc.lock: metrics/eval"):
        same.main()
    project.git("checkout", "metrics")
    project.set_params({"plot": {"seed": 1}})
    with pytest.raises(UserError, match=r"params.yaml differs from HEAD"):
        same.main()
    project.git("checkout", "params.yaml")
    edit(project)
    project.commit("A comment, not run")
    with pytest.raises(UserError, match=f"HEAD's own dvc.lock is stale: {EVALUATION}"):
        same.main()
