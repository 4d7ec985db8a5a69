"""What several tests share: a small split, a terminal, sandboxes, a skip without a GPU."""

import fcntl
import io
import json
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from defaults import DIGITS, TINY
from mnist_lstm.data.splits import Split
from mnist_lstm.device import lacks_for_bf16
from mnist_lstm.plumbing import progress
from sandbox import Sandbox, create

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
        if item.path.parent.name == "mnist":
            item.add_marker("mnist")
        if item.get_closest_marker("cuda"):
            if reason := lacks(item.callspec.params if hasattr(item, "callspec") else {}):
                item.add_marker(pytest.mark.skip(reason=reason))
            # such as cuDNN's of weights that it has to copy in each step
            item.add_marker(pytest.mark.filterwarnings("error::UserWarning"))


def lacks(params):
    """Return what is missing here for a test on CUDA of these ``params``, if anything."""
    if not torch.cuda.is_available():
        return "no CUDA device here"
    bf16 = params.get("precision") == "bf16"
    return lacks_for_bf16(torch.device("cuda")) if bf16 else ""


@pytest.fixture
def split():
    """60 images of 28x28 in which the bright column tells the class: easy to learn."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (60, 28, 28), generator=generator).byte()
    labels = torch.arange(60) % 10
    images[torch.arange(60), :, 2 * labels] = 250
    return Split(images, labels, DIGITS)


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes standard output a terminal whose bars always draw.

    To be called in the test: pytest gives each phase of a test its own standard output.
    """

    def terminal():
        always = partial(tqdm, mininterval=0, miniters=1)
        monkeypatch.setattr(progress, "tqdm", always)
        shown = io.StringIO()
        shown.isatty = lambda: True
        monkeypatch.setattr(sys, "stdout", shown)
        return shown

    return terminal


@pytest.fixture
def told(capsys, tmp_path):
    """Return a function: the lines printed since, without this machine's folder."""
    return lambda: capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines()


@pytest.fixture
def folder(tmp_path):
    """An empty ``own/``."""
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Return a function that makes a sandbox once for all workers of pytest-xdist.

    What runs in one worker's copy of it must not be seen by another.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def once(name, make):
        done = shared / f"{name}-done"
        with (shared / f"{name}-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
            if not done.exists():
                make(shared / f"{name}-new")
                (shared / f"{name}-new").rename(done)
        return Sandbox(done).copy(tmp_path_factory.mktemp(name) / "project")

    return once


@pytest.fixture(scope="session")
def built(once):
    """The project after ``dvc repro`` on `digits`, committed; only to be read."""

    def make(path):
        sandbox = create(path, TINY | {"data": {"name": "digits"}})
        (path / ".git/output").write_text(sandbox.dvc("repro"))
        sandbox.commit("The first run")

    sandbox = once("built", make)
    sandbox.output = sandbox.text(".git/output")
    return sandbox


@pytest.fixture
def copy(built, tmp_path):
    """A copy of the built project, to change."""
    return built.copy(tmp_path / "copy")


@pytest.fixture(scope="session")
def changed(built, once):
    """A copy in which ``dvc exp run -S model.hdim=24`` has run and is committed."""

    def make(path):
        sandbox = built.copy(path)
        output = sandbox.dvc("exp", "run", "-S", "model.hdim=24")
        (path / ".git/output").write_text(output)
        (path / ".git/diff").write_text(sandbox.dvc("metrics", "diff", "--json"))
        sandbox.commit("A wider model")

    sandbox = once("changed", make)
    sandbox.output = sandbox.text(".git/output")
    sandbox.diff = json.loads(sandbox.text(".git/diff"))
    return sandbox


@pytest.fixture
def before(changed, tmp_path):
    """The built project, ready for make; what runs with `hdim` 24 is in DVC's cache."""
    project = changed.copy(tmp_path / "before")
    project.git("reset", "--quiet", "--hard", "HEAD~1")
    project.dvc("checkout", "--quiet")
    project.set_up()
    return project


@pytest.fixture(scope="session")
def prepared(once):
    """The project with its data prepared, and 12 epochs to be trained; to be copied."""

    def make(path):
        params = TINY | {
            "data": {"name": "digits"},
            "train": TINY["train"] | {"epochs": 12, "batch_size": 8},
        }
        create(path, params).dvc("repro", "prepare", "describe")

    return once("prepared", make)


@pytest.fixture(scope="session")
def finished(prepared, once):
    """The project after a training that nothing interrupted; only to be read."""
    return once("finished", lambda path: prepared.copy(path).dvc("repro", "train"))


@pytest.fixture(scope="module")
def browser():
    """A Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu"]  # the sandbox does not run as root
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def show(browser):
    """Return a function that opens a page; what it asks for or complains of is an error."""
    contexts, faults = [], []

    def show(path, **options):
        settings = {"reduced_motion": "reduce", "viewport": {"width": 1100, "height": 900}}
        contexts.append(browser.new_context(**settings | options))
        tab = contexts[-1].new_page()
        tab.on("request", lambda request: requested(request.url))
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(path.as_uri())
        return tab

    def requested(url):
        if not url.startswith(("file:", "blob:", "data:")):
            faults.append(url)

    yield show
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def tab(show, built):
    """The page of the built project."""
    return show(built.path / "models/page.html")
