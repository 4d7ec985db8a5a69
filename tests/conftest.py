"""What several tests share: a small split, and a marker that skips without a GPU."""

import pytest
import torch

from mnist_lstm.tensors import Split

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
