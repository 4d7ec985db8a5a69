"""The GitHub workflows: what they may do; test_review.py runs the steps of the review."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sandbox import ROOT, _environment, ran

WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text())
    for path in Path(".github/workflows").iterdir()
}
JOBS = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
STEPS = [step for job in JOBS for step in job["steps"]]


def test_actions_are_pinned_to_a_commit():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", use)] == []


def test_the_job_that_runs_a_pull_requests_code_may_only_read():
    jobs = WORKFLOWS["review.yml"]["jobs"]
    assert WORKFLOWS["review.yml"]["permissions"] == {}
    assert WORKFLOWS["ci.yml"]["permissions"] == {"contents": "read"}
    assert jobs["report"]["permissions"] == {"contents": "read"}
    assert jobs["comment"]["permissions"] == {"pull-requests": "write"}
    assert not any("uses" in step for step in jobs["comment"]["steps"])


def test_what_publishes_the_page_runs_no_code_and_what_builds_it_may_only_read():
    jobs = WORKFLOWS["pages.yml"]["jobs"]
    assert WORKFLOWS["pages.yml"]["permissions"] == {}
    assert jobs["build"]["permissions"] == {"contents": "read"}
    assert jobs["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert not any("run" in step for step in jobs["deploy"]["steps"])
    commands = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert any("dvc repro export" in command for command in commands)
    assert commands[-1] == "mkdir site && cp models/page.html site/index.html"


def test_no_script_is_built_from_what_a_stranger_wrote():
    assert [step["run"] for step in STEPS if "${{" in step.get("run", "")] == []


def commands(workflow):
    """Return the commands of a workflow's steps."""
    jobs = WORKFLOWS[workflow]["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_each_push_is_checked_in_minutes_and_the_rest_at_night():
    assert commands("ci.yml") == ["make lint", "make test", "make tiny"]
    assert commands("nightly.yml") == [".ci/run"]
    assert Path(".ci/run").read_text().endswith("make test\nmake long\n")
    caches = [step["with"] for step in STEPS if "cache@" in step.get("uses", "")]
    assert [cache["path"] for cache in caches] == [".venv", ".dvc/cache", ".dvc/cache"]


@pytest.mark.long
def test_the_tiny_pipeline_of_ci_runs_all_stages_and_leaves_the_folder_alone(copy):
    copy.set_up()
    copy.set_params({"model": {"xdim": 9, "ydim": 3, "name": "gru"}})  # of other data
    copy.commit("Other data")
    copy.git("config", "--unset", "user.name")
    copy.git("config", "--unset", "user.email")
    assert len(ran(copy.run("make", "tiny"))) == 5  # download and prepare were run before
    assert copy.git("status", "--porcelain") == ""


def test_a_release_has_the_notes_of_its_version_or_fails(tmp_path):
    page = "# Changes\n\n## 1.2.3\n\n- New.\n\n## 1.2.2 (June)\n\n- Old.\n\n## 1.2.1\n"
    (tmp_path / "CHANGELOG.md").write_text(page)
    notes, publish = commands("release.yml")

    def write(tag):
        command = ["bash", "-ec", notes]
        return subprocess.run(command, cwd=tmp_path, env=os.environ | {"TAG": tag})

    for tag, text in (("v1.2.3", "- New."), ("v1.2.2", "- Old.")):
        assert write(tag).returncode == 0
        assert (tmp_path / "notes.md").read_text().strip() == text
    for tag in ("v1.2.1", "v1.2", "v9"):
        assert write(tag).returncode == 1
    assert publish.startswith('gh release create "$TAG" --verify-tag')


def test_what_lints_the_workflows_finds_what_is_wrong(tmp_path):
    (tmp_path / "bad.yml").write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n"
        "    steps:\n      - run: echo ${{ github.head_ref }}\n"
    )
    for place, status in (("bad.yml", False), (str(ROOT / ".github"), True)):
        command = ["zizmor", "--offline", "--quiet", place]
        done = subprocess.run(command, cwd=tmp_path, env=_environment())
        assert (done.returncode == 0) == status
