"""Fetch the four IDX files of ``data.name`` into ``data/raw/``, checked by checksum.

Reads a mirror (``DATA_MIRROR`` first, then the public ones), writes ``data/raw/``.
Alone: ``python stages/download.py``.
"""

from mnist_lstm import errors, signals

signals.end_in_one_line()  # from here on

import os
from pathlib import Path

from mnist_lstm import datasets, files, params


def main() -> None:
    """Run the stage."""
    settings = params.load()
    name = settings.data.name
    with files.replacing_folder(Path("data/raw")) as folder:
        if name == "digits":
            datasets.write_digits(folder)
        else:
            datasets.fetch(name, folder, os.environ.get("DATA_MIRROR"))


if __name__ == "__main__":
    errors.run(main)
