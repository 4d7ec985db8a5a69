"""Decode the IDX files, split off a validation set, write tensors.

Reads ``data/raw/``, writes ``data/prepared/{train,valid,test}.safetensors`` (no ``valid``
where ``prepare.valid_size`` is 0). Alone: ``python stages/prepare.py``.
"""

from mnist_lstm import errors, signals

signals.end_in_one_line()  # from here on: PyTorch takes seconds to import

from pathlib import Path

from mnist_lstm import files, params, preparation, tensors


def main() -> None:
    """Run the stage."""
    settings = params.load()
    train, test = preparation.read(Path("data/raw"))
    splits = preparation.hold_out(train, settings.prepare.valid_size, settings.prepare.seed)
    splits["test"] = test
    with files.replacing_folder(Path("data/prepared")) as folder:
        for name, split in splits.items():
            tensors.save(split, folder / f"{name}.safetensors")
            print(f"{name}: {len(split):,} images of {list(split.images.shape[1:])}")


if __name__ == "__main__":
    errors.run(main)
