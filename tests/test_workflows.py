"""The GitHub workflows: what they may do, and that their commands are the local ones."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from project import TINY, create

WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text())
    for path in Path(".github/workflows").iterdir()
}
JOBS = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
STEPS = [step for job in JOBS for step in job["steps"]]

MARKER = "<!-- review -->"
STAND_IN = f"""#!{sys.executable}
import json, pathlib, re, sys
arguments = sys.argv[1:]
url = next(a for a in arguments if a.startswith("repos/"))
if "--jq" in arguments:
    query = arguments[arguments.index("--jq") + 1]
    login, start = re.search(r'login == "(.*?)" and .*startswith\\("(.*?)"', query).groups()
    for comment in json.loads(pathlib.Path("comments.json").read_text()):
        if comment["user"]["login"] == login and comment["body"].startswith(start):
            print(comment["id"])
else:
    method = "PATCH" if "PATCH" in arguments else "POST"
    assert "body=@comment.md" in arguments
    with open("asked", "a") as asked:
        print(method, url, file=asked)
"""


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


def test_no_script_is_built_from_what_a_stranger_wrote():
    assert [step["run"] for step in STEPS if "${{" in step.get("run", "")] == []


def test_ci_runs_what_can_be_run_here():
    assert ".ci/run" in [
        step.get("run") for step in WORKFLOWS["ci.yml"]["jobs"]["test"]["steps"]
    ]


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        ([], ["POST repos/o/r/issues/7/comments"]),
        (
            [("someone", MARKER), ("github-actions[bot]", "other")],
            ["POST repos/o/r/issues/7/comments"],
        ),
        ([("github-actions[bot]", MARKER)] * 2, ["PATCH repos/o/r/issues/comments/0"]),
    ],
)
def test_the_comment_is_written_once_and_then_kept_up_to_date(tmp_path, comments, expected):
    """GitHub itself is out of reach: a stand-in of `gh` remembers what it is asked."""
    (step,) = WORKFLOWS["review.yml"]["jobs"]["comment"]["steps"]
    listed = [
        {"id": n, "user": {"login": login}, "body": body}
        for n, (login, body) in enumerate(comments)
    ]
    (tmp_path / "comments.json").write_text(json.dumps(listed))
    gh = tmp_path / "gh"
    gh.write_text(STAND_IN)
    gh.chmod(0o755)
    env = {"REPOSITORY": "o/r", "NUMBER": "7", "MARKDOWN": "## Metrics"}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = ["bash", "-e", "-c", step["run"]]
    subprocess.run(script, cwd=tmp_path, env=env | {"PATH": path}, check=True)
    assert (tmp_path / "asked").read_text().splitlines() == expected
    assert (tmp_path / "comment.md").read_text() == f"{MARKER}\n## Metrics\n"


@pytest.fixture
def project(tmp_path):
    project = create(tmp_path / "project", TINY)
    project.set_params({"train": {"epochs": 1}})
    project.commit("Fewer epochs")
    # As after `make .venv/installed`; this Python has all that it would install.
    (project.path / ".venv").mkdir()
    (project.path / ".venv/installed").touch()
    return project


def test_the_review_step_prints_the_report_and_hands_it_on(project, tmp_path):
    (script,) = [
        step["run"]
        for step in WORKFLOWS["review.yml"]["jobs"]["report"]["steps"]
        if step.get("id") == "review"
    ]
    summary, output = tmp_path / "summary", tmp_path / "output"
    project.run(
        "bash",
        "-e",
        "-c",
        script,
        BASE="HEAD~1",
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_OUTPUT=str(output),
    )
    report = summary.read_text()
    assert report.startswith("## Metrics\n")
    assert "train.epochs" in report
    first, *body, last = output.read_text().splitlines()
    assert first == f"markdown<<{last}"
    assert body == report.splitlines()
