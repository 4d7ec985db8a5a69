"""What several tests share: a small split, a terminal, and a skip without a GPU."""

import io
import os
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from mnist_lstm import datasets, training
from mnist_lstm.tensors import Split

# The tests read the project's files by their names there.
os.chdir(Path(__file__).parent.parent)

# Tiny models gain nothing from threads, and lose much where other work shares the cores.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture
def split():
    """60 images of 28x28 in which the bright column tells the class: easy to learn."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (60, 28, 28), generator=generator).byte()
    labels = torch.arange(60) % 10
    images[torch.arange(60), :, 2 * labels] = 250
    return Split(images, labels, n_class=10)


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
        for module in (datasets, training):
            monkeypatch.setattr(module, "tqdm", partial(tqdm, mininterval=0, miniters=1))
        monkeypatch.setattr(sys, "stdout", Terminal())
        return sys.stdout

    return terminal
