"""Decode the data set or own pictures, split off a validation set, write tensors.

Reads ``data/raw/`` or, where ``data.name`` is own, ``own/``; writes
``data/prepared/{train,valid,test}.safetensors`` (no ``valid`` where
``prepare.valid_size`` is 0). Alone: ``python stages/prepare.py``.
"""

from mnist_lstm.plumbing import script

script.begin()  # before the imports below, which take seconds

from pathlib import Path

from mnist_lstm.data import own
from mnist_lstm.data.datasets import OWN
from mnist_lstm.data.preparation import hold_out, read_splits
from mnist_lstm.data.scaling import standardise
from mnist_lstm.data.splits import Split, save_split
from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.plumbing.files import replacing_folder
from mnist_lstm.plumbing.params import PrepareParams, load_params


def main() -> None:
    """Run the stage."""
    params = load_params()
    splits = standardise(read(params.data.name, params.prepare), params.prepare.missing)
    tell_of_groups(splits)
    with replacing_folder(Path("data/prepared")) as folder:
        for name, split in splits.items():
            save_split(split, folder / f"{name}.safetensors")
            print(f"{name}: {told(split)}")


def read(name: str, prepare: PrepareParams) -> dict[str, Split]:
    """Return the splits; what they were drawn from is not kept, for it may be large."""
    if name == OWN:
        train, test = own.read_splits(Path("own"), prepare)
        refuse_misfits(prepare, train)
        q, n_class = train.x.shape[2], len(train.classes)
        print(f"to be read with model.xdim {q} and model.ydim {n_class}")
    else:
        train, test = read_splits(name, Path("data/raw"))
    splits = hold_out(train, prepare.valid_size, prepare.seed, prepare.valid_split)
    return splits | {"test": test}


def refuse_misfits(prepare: PrepareParams, train: Split) -> None:
    """Refuse what is for pictures where the data are sequences, and the reverse.

    Raises:
        ParamsError: names it.
    """
    if not train.is_images and prepare.picture != "mnist":
        fits = "left at mnist: own/ holds sequences, and nothing is scaled"
        raise ParamsError.of("prepare.picture", fits, prepare.picture)
    if train.is_images and prepare.missing != "refuse":
        fits = "refuse: own/ holds images, in which no value is missing"
        raise ParamsError.of("prepare.missing", fits, prepare.missing)


def tell_of_groups(splits: dict[str, Split]) -> None:
    """Say so where sequences of one group are learnt from and validated on."""
    if "valid" in splits:
        shared = set(splits["train"].groups) & set(splits["valid"].groups)
        if shared:
            print(
                f"valid: {len(shared):,} groups are in train, too; for others its accuracy "
                "promises too much; prepare.valid_split: group holds out whole groups"
            )


def told(split: Split) -> str:
    """Return how many examples of which size a split has."""
    _, length, q = split.x.shape
    if split.is_images:
        return f"{len(split):,} images of {[length, q]}"
    steps = f"{length:,}"
    if split.lengths is not None:
        steps = f"{split.lengths.min():,} to {split.lengths.max():,}"
    groups = f", {len(set(split.groups)):,} groups" if split.groups else ""
    return f"{len(split):,} sequences of {steps} steps of {q:,} values{groups}"


if __name__ == "__main__":
    script.run(main, lower=("prepare.height", "prepare.width"))
