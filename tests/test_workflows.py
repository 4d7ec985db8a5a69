"""The GitHub workflows: what they may do; test_review.py runs the steps of the review."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from sandbox import ran

WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text())
    for path in Path(".github/workflows").iterdir()
}


def test_what_runs_a_strangers_code_may_only_read_and_what_writes_runs_none():
    """That actions are pinned and no script is built of words, zizmor sees: make lint."""
    jobs = WORKFLOWS["review.yml"]["jobs"]
    assert WORKFLOWS["review.yml"]["permissions"] == {}
    assert WORKFLOWS["ci.yml"]["permissions"] == {"contents": "read"}
    assert jobs["report"]["permissions"] == {"contents": "read"}
    assert jobs["comment"]["permissions"] == {"pull-requests": "write"}
    assert not any("uses" in step for step in jobs["comment"]["steps"])
    jobs = WORKFLOWS["pages.yml"]["jobs"]
    assert WORKFLOWS["pages.yml"]["permissions"] == {}
    assert jobs["build"]["permissions"] == {"contents": "read"}
    assert jobs["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert not any("run" in step for step in jobs["deploy"]["steps"])


@pytest.mark.long
def test_the_tiny_pipeline_of_ci_runs_all_stages_and_leaves_the_folder_alone(copy):
    copy.set_up()
    copy.set_params({"model": {"xdim": 9, "ydim": 3, "name": "gru"}})  # of other data
    copy.commit("Other data")
    copy.git("config", "--unset", "user.name")
    copy.git("config", "--unset", "user.email")
    assert len(ran(copy.run("make", "tiny"))) == 5  # download and prepare were run before
    assert copy.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("tag", "notes"),
    [("v1.2.3", "- New."), ("v1.2.2", "- Old."), ("v1.2.1", ""), ("v1.2", ""), ("v9", "")],
)
def test_a_release_has_the_notes_of_its_version_or_fails(tag, notes, tmp_path):
    page = "# Changes\n\n## 1.2.3\n\n- New.\n\n## 1.2.2 (June)\n\n- Old.\n\n## 1.2.1\n"
    (tmp_path / "CHANGELOG.md").write_text(page)
    steps = WORKFLOWS["release.yml"]["jobs"]["release"]["steps"]
    command = ["bash", "-ec", steps[1]["run"]]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"TAG": tag})
    assert (done.returncode == 0) == bool(notes)
    assert not notes or (tmp_path / "notes.md").read_text().strip() == notes
