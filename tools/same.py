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
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.files import remove
from mnist_lstm.plumbing.params import check_params, parse_yaml
from mnist_lstm.runs import override
from trees import call, extract, params_of, working_tree

LOCK = Path("dvc.lock")
# What dvc.lock holds of code that did not run: a checksum and a path a line, for reviewers.
RECORDED = Path(".dvc/same.txt")
# The model is that of params.yaml, its sizes those of the data here; the last word counts.
SMALL = """
    data.name=digits model.xdim=28 model.ydim=10 model.hdim=16
    prepare.valid_size=0 prepare.valid_split=random
    prepare.picture=mnist prepare.height=28 prepare.width=28
    train.epochs=2 train.batch_size=64 train.lr=0.01
    train.device=cpu train.shards=1 train.keep=last
"""
EVERYTHING = f"""{SMALL}
    prepare.valid_size=200 model.dropout=0.2 model.init=keras train.shards=4
    train.optimizer=muon train.schedule=one_cycle train.weight_decay=0.01 train.clip=1
    train.label_smoothing=0.1 train.ema=0.9
    augment.rotation=2 augment.elastic=2 augment.scale=0.1 augment.shear=0.1
    augment.shift=0.1 augment.fade=0.1
"""
OWN = f"{SMALL} data.name=own prepare.valid_size=20 prepare.valid_split=last"
SEQUENCES = f"""{OWN}
    prepare.valid_split=group model.xdim=6 model.ydim=3 augment.noise=0.5
"""
RUNS = {
    "plain": SMALL,
    "everything on": EVERYTHING,
    "own images": OWN,
    "own sequences": SEQUENCES,
}


def main() -> None:
    """Compare, then record."""
    refuse_other_changes()
    with tempfile.TemporaryDirectory() as temporary:
        folders = Path(temporary, "head"), Path(temporary, "here")
        for tree, folder in zip(("HEAD", working_tree()), folders, strict=True):
            extract(tree, folder)
        if stale := modified("deps", folders[0]):
            raise UserError(f"HEAD's own dvc.lock is stale: {', '.join(stale)}")
        for name, words in RUNS.items():
            for folder in folders:
                give_own_data(folder / "own", name)
            with ThreadPoolExecutor() as pool:
                head, here = pool.map(run, folders, [words] * 2)
            moved = sorted(p for p in head | here if head.get(p) != here.get(p))
            if moved:
                raise UserError(f"{name}: not the same: {', '.join(moved)}")
            print(f"{name}: {len(head)} outputs, all the same", flush=True)
    record()


def refuse_other_changes() -> None:
    """Refuse what is no edit of the code: other parameters, or outputs of another run."""
    here = Path("params.yaml").read_text(encoding="utf-8")
    if parse_yaml(here, "params.yaml") != params_of("HEAD"):
        raise UserError("params.yaml differs from HEAD: that changes outputs; `dvc repro`")
    if changed := modified("outs"):
        raise UserError(f"not the outputs of dvc.lock: {', '.join(changed)}; `dvc repro`")


def modified(kind: str, folder: Path = Path()) -> list[str]:
    """Return which ``deps`` or ``outs`` are there, and other than ``dvc.lock`` has them."""
    told = json.loads(call(folder, "dvc", "status", "--json")).values()
    entries = [entry for stage in told for entry in stage if isinstance(entry, dict)]
    states = [item for e in entries for item in e.get(f"changed {kind}", {}).items()]
    return sorted({path for path, state in states if state == "modified"})


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
            ImageOps.expand(ink, 10, fill=255).save(folder / f"train/{name}/{i}.png")


def draw_own_sequences(folder: Path) -> None:
    """Write 60 sequences of 6 to 12 steps, of three classes and six groups."""
    chance = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = chance.normal(y[:, None, None], size=(60, 12, 6)).astype(np.float32)
    lengths, groups = chance.integers(6, 13, 60), np.arange(60) // 10
    np.savez(folder / "train.npz", x=x, y=y, lengths=lengths, groups=groups)


def run(folder: Path, words: str) -> dict[str, str]:
    """Run the pipeline in ``folder``; return the hash of each output."""
    params = params_of("HEAD")
    params["augment"] = dict.fromkeys(params["augment"], 0.0)
    checked = override(check_params(params, "params.yaml"), words.split())
    (folder / "params.yaml").write_text(yaml.safe_dump(checked.model_dump()))
    call(folder, "dvc", "repro", OMP_NUM_THREADS="1")
    stages = yaml.safe_load((folder / LOCK).read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def record() -> None:
    """Have ``dvc.lock`` and the run-cache take the code as it stands here."""
    from dvc.repo import Repo  # a second

    before = dependencies()
    # As `dvc commit --force`, which needs every output; a clone has perhaps fetched none.
    with (repo := Repo()).lock:
        stages = [stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"]
        for stage in stages:
            fetched = all(entry.exists for entry in [*stage.deps, *stage.outs])
            stage.save(allow_missing=True, run_cache=fetched)
            stage.commit(allow_missing=True)
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
    edited = dependencies() - before
    lines = sorted(f"{md5} {path}\n" for md5, path in edited | recorded())
    RECORDED.write_text("".join(lines))
    names = ", ".join(sorted(path for _, path in edited))
    print(f"recorded in {LOCK}, without a run: {names or 'nothing'}")


def dependencies() -> set[tuple[str, str]]:
    """Return checksum and path of all that stages have read, by ``dvc.lock``."""
    stages = yaml.safe_load(LOCK.read_text())["stages"].values()
    return {(dep["md5"], dep["path"]) for stage in stages for dep in stage.get("deps", [])}


def recorded() -> set[tuple[str, str]]:
    """Return what was recorded so and is in ``dvc.lock`` still."""
    if not RECORDED.exists():
        return set()
    lines = RECORDED.read_text().splitlines()
    return dependencies() & {tuple(line.split(" ", 1)) for line in lines}


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
