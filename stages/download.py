"""Fetch the files of ``data.name`` into ``data/raw/``, checked by checksum.

Reads a mirror (``DATA_MIRROR`` first, then the public ones); writes ``data/raw/``. Of
``digits``, which come with scikit-learn, and of ``own`` there is nothing to fetch.
Alone: ``python stages/download.py``.
"""

from mnist_lstm.plumbing import script

script.begin()  # before the imports below, which take seconds

import os
from pathlib import Path

from mnist_lstm.data import datasets
from mnist_lstm.plumbing.files import replacing_folder
from mnist_lstm.plumbing.params import load_params


def main() -> None:
    """Run the stage."""
    params = load_params()
    with replacing_folder(Path("data/raw")) as folder:
        datasets.fetch(params.data.name, folder, os.environ.get("DATA_MIRROR"))


if __name__ == "__main__":
    script.run(main)
