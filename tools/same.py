"""Prove that an edit of the code changes no output, and record it: ``make same``.

Runs repeat to the bit here, so this can be shown. The pipeline runs on small data, as
committed and as it stands here: plain, with everything on, on own images and on own
sequences. Where every output has the same hash, ``dvc.lock`` takes the new hashes of the
code, and no stage has to run again. It is evidence on this processor, for what these small
runs reach.
"""

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.files import remove
from trees import call, extract, working_tree

LOCK = Path("dvc.lock")
# What dvc.lock holds of code that did not run: a checksum and a path a line, for reviewers.
RECORDED = Path(".dvc/same.txt")
# The model is that of params.yaml, its sizes those of the data here.
SMALL: dict[str, dict] = {
    "data": {"name": "digits"},
    "prepare": {"valid_size": 0, "valid_split": "random", "picture": "mnist"}
    | {"height": 28, "width": 28},
    "model": {"xdim": 28, "ydim": 10, "hdim": 16},
    "train": {"epochs": 2, "batch_size": 64, "lr": 0.01, "device": "cpu"}
    | {"shards": 1, "keep": "last"},
}
EVERYTHING: dict[str, dict] = {
    "data": {"name": "digits"},
    "prepare": SMALL["prepare"] | {"valid_size": 200},
    "model": SMALL["model"] | {"dropout": 0.2, "init": "keras"},
    "train": SMALL["train"]
    | {"optimizer": "muon", "schedule": "one_cycle", "weight_decay": 0.01, "clip": 1.0}
    | {"shards": 4, "label_smoothing": 0.1, "ema": 0.9},
    "augment": dict.fromkeys(["rotation", "elastic"], 2.0)
    | dict.fromkeys(["scale", "shear", "shift", "fade"], 0.1),
}
OWN = SMALL | {
    "data": {"name": "own"},
    "prepare": SMALL["prepare"] | {"valid_split": "last", "valid_size": 20},
}
SEQUENCES = OWN | {
    "prepare": OWN["prepare"] | {"valid_split": "group"},
    "model": SMALL["model"] | {"xdim": 6, "ydim": 3},
    "augment": {"noise": 0.5},
}
RUNS = {"plain": SMALL, "everything on": EVERYTHING, "own images": OWN}
RUNS |= {"own sequences": SEQUENCES}


def main() -> None:
    """Compare, then record."""
    refuse_other_changes()
    with tempfile.TemporaryDirectory() as temporary:
        folders = {"HEAD": Path(temporary, "head"), "here": Path(temporary, "here")}
        extract("HEAD", folders["HEAD"])
        refuse_stale_lock(folders["HEAD"])
        extract(working_tree(Path(), Path(temporary, "index")), folders["here"])
        for name, changes in RUNS.items():
            for folder in folders.values():
                give_own_data(folder / "own", name)
            with ThreadPoolExecutor() as pool:
                head, here = pool.map(run, folders.values(), [changes] * 2)
            moved = sorted(p for p in head | here if head.get(p) != here.get(p))
            if moved:
                raise UserError(f"{name}: not the same: {', '.join(moved)}")
            print(f"{name}: {len(head)} outputs, all the same", flush=True)
    record()


def refuse_other_changes() -> None:
    """Refuse what is no edit of the code: other parameters, or outputs of another run.

    Raises:
        UserError: names them.
    """
    here = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    if here != yaml.safe_load(call(Path(), "git", "show", "HEAD:./params.yaml")):
        raise UserError("params.yaml differs from HEAD: that changes outputs; `dvc repro`")
    changed = [
        path
        for entry in status(Path())
        for path in entry.get("changed outs", {})
        if Path(path).exists()  # what a clone has not fetched stays as recorded
    ]
    if changed:
        raise UserError(f"not the outputs of dvc.lock: {', '.join(changed)}; `dvc repro`")


def refuse_stale_lock(head: Path) -> None:
    """Refuse a ``dvc.lock`` that was not written by the code of HEAD."""
    stale = {
        path
        for entry in status(head)
        for path, state in entry.get("changed deps", {}).items()
        if state == "modified"
    }
    if stale:
        raise UserError(f"HEAD's own dvc.lock is stale: {', '.join(sorted(stale))}")


def status(folder: Path) -> list[dict]:
    """Return what ``dvc status`` says of the stages in ``folder``."""
    told = json.loads(call(folder, "dvc", "status", "--json"))
    return [entry for stage in told.values() for entry in stage if isinstance(entry, dict)]


def give_own_data(folder: Path, run: str) -> None:
    """Put what ``run`` reads in the place of all data in ``folder``, the user's, too."""
    for old in folder.glob("t*"):  # train and test
        remove(old)
    if run == "own images":
        draw_own_images(folder)
    elif run == "own sequences":
        draw_own_sequences(folder)


def draw_own_images(folder: Path) -> None:
    """Write twelve digits of each class below ``folder``."""
    digits = load_digits()
    for name in range(10):
        (folder / f"train/{name}").mkdir(parents=True)
        for i, values in enumerate(digits.images[digits.target == name][:12]):
            ink = Image.fromarray((255 - 15 * values).astype("uint8")).resize((40, 40))
            paper = Image.new("L", (60, 60), 255)
            paper.paste(ink, (10, 10))
            paper.save(folder / f"train/{name}/{i}.png")


def draw_own_sequences(folder: Path) -> None:
    """Write 60 sequences of 6 to 12 steps, of three classes and six groups."""
    chance = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = chance.normal(y[:, None, None], size=(60, 12, 6)).astype(np.float32)
    lengths, groups = chance.integers(6, 13, 60), np.arange(60) // 10
    np.savez(folder / "train.npz", x=x, y=y, lengths=lengths, groups=groups)


def run(folder: Path, changes: dict) -> dict[str, str]:
    """Run the pipeline in ``folder``; return the hash of each output."""
    params = yaml.safe_load(call(Path(), "git", "show", "HEAD:./params.yaml"))
    params["augment"] = dict.fromkeys(params["augment"], 0.0)
    for section, values in changes.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    call(folder, "dvc", "repro", OMP_NUM_THREADS="1")
    stages = yaml.safe_load((folder / LOCK).read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def record() -> None:
    """Have ``dvc.lock`` and the run-cache take the code as it stands here."""
    from dvc.repo import Repo  # a second

    before = yaml.safe_load(LOCK.read_text())["stages"]
    # As `dvc commit --force`, which needs every output; a clone has perhaps fetched none.
    with (repo := Repo()).lock:
        stages = [stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"]
        for stage in stages:
            fetched = all(entry.exists for entry in [*stage.deps, *stage.outs])
            stage.save(allow_missing=True, run_cache=fetched)
            stage.commit(allow_missing=True)
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
    after = yaml.safe_load(LOCK.read_text())["stages"]
    edited = {
        (dep["md5"], dep["path"])
        for name, stage in after.items()
        for dep in stage["deps"]
        if dep not in before.get(name, {}).get("deps", [])
    }
    lines = sorted(f"{md5} {path}\n" for md5, path in edited | recorded())
    RECORDED.write_text("".join(lines))
    names = ", ".join(sorted(path for _, path in edited))
    print(f"recorded in {LOCK}, without a run: {names or 'nothing'}")


def recorded() -> set[tuple[str, str]]:
    """Return checksum and path of what was recorded so and is in ``dvc.lock`` still."""
    lines = RECORDED.read_text().splitlines() if RECORDED.exists() else []
    stages = yaml.safe_load(LOCK.read_text())["stages"].values() if lines else []
    current = {(dep["md5"], dep["path"]) for stage in stages for dep in stage["deps"]}
    return current & {tuple(line.split(" ", 1)) for line in lines}


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
