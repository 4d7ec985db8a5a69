"""Decode the IDX files, split off a validation set, write tensors.

Reads ``data/raw/``, writes ``data/prepared/{train,valid,test}.safetensors`` (no ``valid``
where ``prepare.valid_size`` is 0). Alone: ``python stages/prepare.py``.
"""

from mnist_lstm.plumbing import script

script.end_in_one_line()  # at Ctrl-C, from here on: PyTorch takes seconds to import

from pathlib import Path

from mnist_lstm.datasets import DATA_SETS
from mnist_lstm.plumbing.files import replacing_folder
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.preparation import hold_out, read_splits
from mnist_lstm.splits import save_split


def main() -> None:
    """Run the stage."""
    params = load_params()
    classes = DATA_SETS[params.data.name].classes
    train, test = read_splits(Path("data/raw"), classes)
    splits = hold_out(train, params.prepare.valid_size, params.prepare.seed)
    splits["test"] = test
    with replacing_folder(Path("data/prepared")) as folder:
        for name, split in splits.items():
            save_split(split, folder / f"{name}.safetensors")
            print(f"{name}: {len(split):,} images of {list(split.images.shape[1:])}")


if __name__ == "__main__":
    script.run(main)
