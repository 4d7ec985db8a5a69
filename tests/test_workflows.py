"""The GitHub workflows: what they may do; test_review.py runs the steps of the review."""

import re
from pathlib import Path

import yaml

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


def test_ci_runs_what_can_be_run_here():
    assert ".ci/run" in [
        step.get("run") for step in WORKFLOWS["ci.yml"]["jobs"]["test"]["steps"]
    ]
