"""A project for tests of ``make review``: a commit whose outputs were made by hand.

No test has to train: ``dvc commit`` records what is written here.
"""

import contextlib

import pytest
from dvc.repo import Repo

import review
import trees
from defaults import TINY
from sandbox import _environment, create

AUGMENTATION = "src/mnist_lstm/training/augmentation.py"
FIGURE = "plots/samples.png"


@pytest.fixture(scope="module")
def surroundings():
    """DVC's folders of the tests, also for what runs in this process; not on GitHub."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in _environment().items():
            if key.startswith(("DVC_", "GIT_")):
                patch.setenv(key, value)
        for key in ("GITHUB_REPOSITORY", "GITHUB_SERVER_URL", "HEAD_SHA"):
            patch.delenv(key, raising=False)
        yield


@pytest.fixture(scope="module")
def start(tmp_path_factory, surroundings):
    """A commit with all that a run writes, made by hand; only to be read."""
    project = create(tmp_path_factory.mktemp("review") / "start", TINY)
    with Repo(str(project.path)) as repo:
        outs = [out.def_path for out in repo.index.outs]
    for name in ["data/raw/x", "data/prepared/test.safetensors", *outs[2:]]:
        write(project, name, f"the first {name}")
    write(project, "metrics/model.json", '{"parameters": 3114}')
    write(project, "metrics/evaluate.json", '{"test": {"loss": 0.0624, "accuracy": 0.5}}')
    write_classes(project, [(0, 0), (1, 0)] * 10)
    project.set_up()
    record(project, "A run")
    return project


@pytest.fixture
def project(start, tmp_path):
    """A copy of that commit, to change."""
    return start.copy(tmp_path / "project")


def write(project, file, text):
    path = project.path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_classes(project, rows):
    table = "actual,predicted\n" + "".join(f"{a},{p}\n" for a, p in rows)
    write(project, "plots/confusion.csv", table)


def record(project, message):
    """Commit what stands there as if a run had written it."""
    with contextlib.chdir(project.path), Repo() as repo:
        repo.commit(force=True)
    project.commit(message)


def look(project):
    with contextlib.chdir(project.path), Repo() as repo:
        return review.look(repo, "HEAD", None)


def report(project, base="HEAD~1"):
    """Return the paragraphs of the report against ``base``, which holds a verdict."""
    with contextlib.chdir(project.path):
        text, ran = review.report(trees.find_commit(base))
    assert ran
    return text.split("\n\n")
