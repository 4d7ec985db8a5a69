"""Train the LSTM.

Reads ``data/prepared/``, writes ``models/model.safetensors`` and ``plots/history.csv`` (a
row an epoch, as they end). The held-out split that it watches is ``valid`` where there is
one, else ``test``. Its checkpoints lie in ``checkpoints/``.
Alone: ``python stages/train.py``; on several processes: ``TRAIN_WORKERS=4 dvc repro``, or
by ``torchrun``, see docs/scale.md.
"""

from mnist_lstm.plumbing import script
from mnist_lstm.training.launcher import count_workers, launch

script.begin()  # before the imports below, which take seconds
if __name__ == "__main__" and (count := count_workers()):
    launch(count)  # and end: who trains imports the rest

import os
import sys
from pathlib import Path

import pandas as pd

from mnist_lstm.data.splits import Split, load_split, split_paths
from mnist_lstm.device import set_up
from mnist_lstm.models.base import Reads
from mnist_lstm.models.store import save_model
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.tables import write_csv
from mnist_lstm.training.augmentation import refuse_misfits
from mnist_lstm.training.checkpoint import Checkpointer, checkpoint_key, key_parts
from mnist_lstm.training.distributed import join_workers
from mnist_lstm.training.loop import Run, fit, start_run

COLUMNS = ["epoch", "train_loss", "train_accuracy", "heldout_loss", "heldout_accuracy"]


def main() -> None:
    """Train from the start, or from where an earlier run of the same ended."""
    params = load_params()
    workers = join_workers(params.train)
    if workers.rank > 0:  # the first prints and writes for all
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until it ends
    compute = set_up(params.train.device, params.train.precision, params.train.seed)
    print(f"{compute}\nseed {params.train.seed}, deterministic algorithms only", flush=True)
    known = split_paths(Path("data/prepared"))
    heldout = "valid" if "valid" in known else "test"
    if params.train.keep == "best" and heldout == "test":
        raise UserError(
            "params.yaml: train.keep is best, but there is no validation split to choose "
            "by; set prepare.valid_size, or train.keep: last"
        )
    paths = [known["train"], known[heldout]]

    def prepare() -> tuple[Run, list[Split], str]:
        splits = [load_split(path, params.model, compute.device) for path in paths]
        refuse_misfits(params.augment, splits[0].is_images)
        run = start_run(params.model, params.train, params.augment, compute, workers)
        machine = f"{compute}, {run.fingerprint(splits[0])}"
        return run, splits, checkpoint_key(run.hyperparameters(), paths, machine)

    run, (train, watched), key = workers.agree(prepare, lambda found: key_parts(found[2]))
    with Checkpointer(Path("checkpoints") / key, run, workers) as checkpointer:
        if workers.rank == 0:
            write_history(run, heldout)
        for row in fit(run, train, watched):
            checkpointer.save_if_due()
            if row and workers.rank == 0:
                write_history(run, heldout)
                print(format_row(row, heldout), flush=True)
        if workers.rank == 0:
            warn_of_guessing(run.history[-1]["train_accuracy"], train)
            steps = train.x.shape[1]
            reads = Reads(train.classes, train.picture, steps, train.greys, train.scaling)
            save_model(run.kept_model(), Path("models/model.safetensors"), reads)
        checkpointer.finish()


def write_history(run: Run, heldout: str) -> None:
    """Write the epochs so far, and which of them is kept, if not the last."""
    if run.history:
        table = pd.DataFrame(run.history, columns=COLUMNS)
        table.insert(0, "heldout", heldout)
        if run.params.keep == "best":
            table["kept"] = (table.epoch == run.best_epoch()).astype(int)
        write_csv(Path("plots/history.csv"), table)


def warn_of_guessing(accuracy: float, train: Split) -> None:
    """Say so where the train split's ``accuracy`` is that of one answer to everything."""
    most = train.labels.bincount().max().item() / len(train)
    if accuracy <= most:
        print(
            f"warning: train accuracy is {accuracy:.1%} after the last epoch; to answer "
            f"the commonest class alone gives {most:.1%}: nothing is learnt; raise "
            "train.epochs or train.lr, and look at plots/samples.png",
            file=sys.stderr,
        )


def format_row(row: dict[str, float], heldout: str) -> str:
    """Return an epoch as a line for the terminal."""
    return (
        f"epoch {row['epoch']:>3}  loss {row['train_loss']:.3f}  "
        f"train accuracy {row['train_accuracy']:.3f}  "
        f"{heldout} accuracy {row['heldout_accuracy']:.3f}"
    )


if __name__ == "__main__":
    script.run(main, lower=("train.batch_size", "model.hdim", "model.n_layer"))
