"""What several tests share: a small split, a terminal, sandboxes, a skip without a GPU."""

import io
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from defaults import DIGITS, TINY
from mnist_lstm.device import _lacks_for_bf16
from mnist_lstm.plumbing import progress
from mnist_lstm.splits import Split
from sandbox import create

# The tests read the project's files by their names there.
os.chdir(Path(__file__).parent.parent)

# A shell's background job ignores Ctrl-C, one of nohup a closed terminal, and so would all
# that a test starts, and then waits for.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Tiny models gain nothing from threads, and lose much where other work shares the cores.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("cuda"):
            if reason := lacks(item.callspec.params if hasattr(item, "callspec") else {}):
                item.add_marker(pytest.mark.skip(reason=reason))
            # such as cuDNN's of weights that it has to copy in each step
            item.add_marker(pytest.mark.filterwarnings("error::UserWarning"))


def lacks(params):
    """Return what is missing here for a test on CUDA of these ``params``, if anything."""
    if not torch.cuda.is_available():
        return "no CUDA device here"
    return _lacks_for_bf16() if params.get("precision") == "bf16" else ""


@pytest.fixture
def split():
    """60 images of 28x28 in which the bright column tells the class: easy to learn."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (60, 28, 28), generator=generator).byte()
    labels = torch.arange(60) % 10
    images[torch.arange(60), :, 2 * labels] = 250
    return Split(images, labels, DIGITS)


class Terminal(io.StringIO):
    """Remembers what is printed to it."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes standard output a terminal whose bars always draw.

    To be called in the test: pytest gives each phase of a test its own standard output.
    """

    def terminal():
        always = partial(tqdm, mininterval=0, miniters=1)
        monkeypatch.setattr(progress, "tqdm", always)
        monkeypatch.setattr(sys, "stdout", Terminal())
        return sys.stdout

    return terminal


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The project after ``dvc repro`` on `digits`, committed; only to be read."""
    params = TINY | {"data": {"name": "digits"}}
    sandbox = create(tmp_path_factory.mktemp("built") / "project", params)
    sandbox.output = sandbox.dvc("repro")
    sandbox.commit("The first run")
    return sandbox


@pytest.fixture
def copy(built, tmp_path):
    """A copy of the built project, to change."""
    return built.copy(tmp_path / "copy")


@pytest.fixture(scope="session")
def changed(built, tmp_path_factory):
    """A copy in which ``dvc exp run -S model.hdim=24`` has run and is committed."""
    sandbox = built.copy(tmp_path_factory.mktemp("changed") / "project")
    sandbox.output = sandbox.dvc("exp", "run", "-S", "model.hdim=24")
    sandbox.diff = json.loads(sandbox.dvc("metrics", "diff", "--json"))
    sandbox.commit("A wider model")
    return sandbox


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """The project with its data prepared, and 12 epochs to be trained; to be copied."""
    params = TINY | {
        "data": {"name": "digits"},
        "train": TINY["train"] | {"epochs": 12, "batch_size": 8},
    }
    sandbox = create(tmp_path_factory.mktemp("prepared") / "project", params)
    sandbox.dvc("repro", "prepare", "describe")
    return sandbox


@pytest.fixture(scope="session")
def finished(prepared, tmp_path_factory):
    """The project after a training that nothing interrupted; only to be read."""
    sandbox = prepared.copy(tmp_path_factory.mktemp("finished") / "project")
    sandbox.dvc("repro", "train")
    return sandbox
