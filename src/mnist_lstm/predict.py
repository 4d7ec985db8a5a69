"""Classify pictures or sequences: in Python, or ``python -m mnist_lstm.predict FILE...``.

In Python, ``from mnist_lstm import load, predict``: in any thread, with whatever signals,
plots and random numbers the process has; errors are exceptions.

The command prints a line a file on standard output: the class, its probability, the second
choice. A file that cannot be read has its line on standard error, and the others are
classified none the less; the exit status is 1 then.
"""

from mnist_lstm.plumbing import script

if __name__ == "__main__":
    script.end_in_one_line()  # at Ctrl-C, from here on: PyTorch takes seconds to import

import argparse
import csv
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from mnist_lstm.data.arrays import missing_in
from mnist_lstm.data.csvfile import read_csv
from mnist_lstm.data.decoding import MAX_BYTES, greys_of, is_wide, open_picture, read_file
from mnist_lstm.data.picture import image_of
from mnist_lstm.data.scaling import standardised
from mnist_lstm.data.sequencefiles import read_table, table_of
from mnist_lstm.data.splits import Split, to_input
from mnist_lstm.models.base import Model
from mnist_lstm.models.store import load_model, params_in
from mnist_lstm.plumbing.errors import PictureError, SequenceError, UserError, printable
from mnist_lstm.tensorfile import load_tensors

MODEL = Path("models/model.safetensors")
COLUMNS = ("file", "class", "probability", "second", "second_probability")
MOST_DRAWN = 50  # pictures: a figure of more takes minutes
Picture = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
_COLOURS = ((), (3,), (4,))  # what an array has for each pixel: grey, RGB, RGBA
_OPENING = threading.Lock()  # it turns warnings off and on again, for the whole process


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model makes of a picture or a sequence."""

    class_name: str  # of the likeliest class
    probability: float  # of that class, in [0, 1]
    # What the model saw [L x Q]: uint8 of a picture, float32, standardised, of a sequence.
    image: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)  # float32 [L x ydim], by step
    classes: tuple[str, ...] = field(repr=False)  # the names of all, in their order
    assumed: str = ""  # what could be read otherwise, such as black in more than 8 bits


def load(path: str | os.PathLike[str]) -> Model:
    """Return the trained model in ``path``, on the CPU, ready for :func:`predict`.

    It needs no ``params.yaml``: the file says what the model reads. ``.to("cuda")`` and
    ``.half()`` work as on any module.

    Raises:
        UserError: no such file, a damaged one, or one of other tensors.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"{path}: no model there; `make repro` trains one, `dvc pull` fetches it"
        )
    _, metadata = load_tensors(path, writer="train")
    try:
        params = params_in(metadata)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not a model; the stage `train` writes it") from None
    return load_model(path, params)


@overload
def predict(model: Model, pictures: Picture) -> Prediction: ...
@overload
def predict(model: Model, pictures: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...
def predict(
    model: Model, pictures: Picture | list[Any] | tuple[Any, ...]
) -> Prediction | list[Prediction]:
    """Classify a picture or a sequence, as the model reads, or each of a list.

    Args:
        model: from :func:`load`, on any device.
        pictures: a path, the bytes of a file, a Pillow image (left as it is), or an array
            uint8 [H x W] of greys, [H x W x 3] of RGB or [H x W x 4] of RGBA; or a list of
            these. Of any size up to 64 megapixels, dark or light ink, one digit a picture.
            For a model of sequences: the path of a CSV or ``.npy`` file, or an array
            [L x Q] of raw values; or a list of these.

    Returns:
        A :class:`Prediction`; of a list, a list in its order.

    Raises:
        PictureError: a picture that cannot be read, or has no ink on it; of a list, the
            first such, with its place.
        SequenceError: a sequence that cannot be read, or has other values in a step; so.
        TypeError: neither.
    """
    if not isinstance(pictures, list | tuple):
        return _predict(model, pictures)
    found = []
    for place, picture in enumerate(pictures):
        try:
            found.append(_predict(model, picture))
        except (PictureError, SequenceError) as error:
            raise type(error)(f"pictures[{place}]: {error}") from None
    return found


def _predict(model: Model, given: Picture) -> Prediction:
    seen, assumed = (_sequence if model.reads.scaling else _image)(model, given)
    x = to_input(torch.from_numpy(seen)[None])
    with torch.inference_mode():
        p = model.read(x.to(next(model.parameters(), x))).softmax(2)[0]
    probabilities = p.float().cpu().numpy()
    best = int(probabilities[-1].argmax())
    sure, classes = float(probabilities[-1, best]), model.reads.classes
    return Prediction(classes[best], sure, seen, probabilities, classes, assumed)


def _image(model: Model, picture: Picture) -> tuple[np.ndarray, str]:
    """Return what the model sees of a picture, uint8 [L x Q], and what is assumed."""
    _, how, length, greys, _ = model.reads
    opened = _opened(picture)
    # A copy: Pillow's cannot be written to, and PyTorch warns of that.
    image = np.array(image_of(opened, how, length, model.params.xdim, greys))
    if not is_wide(opened) or how != "scale" or opened.mode in greys:
        return image, ""
    black, white = greys_of(opened.mode, opened)
    return image, f"{black:,g} is taken for black and {white:,g} for white"


def _sequence(model: Model, given: Picture) -> tuple[np.ndarray, str]:
    """Return what the model sees of a sequence, float32 [L x Q], and what is assumed."""
    scaling, q = model.reads.scaling, model.params.xdim
    try:
        if isinstance(given, np.ndarray):
            table = table_of(given)
        elif isinstance(given, bytes):
            table = read_csv(given)
        elif isinstance(given, str | os.PathLike):
            table = read_table(Path(given))
        else:
            fits = "a path, the bytes of a CSV file or a NumPy array"
            raise TypeError(f"a sequence is {fits}, not {type(given).__name__}")
    except UserError as error:
        raise SequenceError(f"{error} (the model reads sequences)") from None
    features = tuple(scaling.get("features", ()))
    if table.values.shape[1] != q or (features and table.names not in ((), features)):
        found = ", ".join(table.names) or f"{table.values.shape[1]:,}"
        expected = ", ".join(features) or f"{q:,}"
        raise SequenceError(f"columns: {found}; the model reads {expected}")
    if (gaps := missing_in(table.values, features)) and scaling["missing"] == "refuse":
        advice = "`prepare.missing: mean` trains a model that fills them"
        raise SequenceError(f"{gaps}; {advice}")
    seen = standardised(torch.from_numpy(table.values), scaling)
    return seen.numpy(), "; ".join(table.notes)


def _opened(picture: Picture) -> Image.Image:
    """Return ``picture`` upright, in RGBA or grey."""
    if isinstance(picture, str | os.PathLike):
        picture = read_file(Path(picture))
    elif isinstance(picture, np.ndarray):
        shape = picture.shape
        if picture.dtype != np.uint8 or len(shape) < 2 or shape[2:] not in _COLOURS:
            fits = "uint8 [H x W], [H x W x 3] or [H x W x 4]"
            raise PictureError(f"an array {picture.dtype} {list(shape)}, expected {fits}")
        picture = Image.fromarray(picture)
    elif not isinstance(picture, bytes | Image.Image):
        fits = "a path, bytes, a Pillow image or a NumPy array"
        raise TypeError(f"a picture is {fits}, not {type(picture).__name__}")
    with _OPENING:
        return open_picture(picture)


def main() -> None:
    """Run the command."""
    arguments = parse_arguments()
    model = load(arguments.model)
    read: list[tuple[str, Prediction]] = []
    failed = False
    table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    if arguments.csv:
        table.writeheader()
    for file in files_in(arguments.files):
        try:
            data = sys.stdin.buffer.read(MAX_BYTES + 1) if file == "-" else file
            found = predict(model, data)
        except (PictureError, SequenceError) as error:
            print(f"error: {printable(file)}: {error}", file=sys.stderr)
            failed = True
            continue
        if found.assumed:
            print(f"note: {printable(file)}: {found.assumed}", file=sys.stderr)
        if arguments.csv:
            table.writerow(row(file, found))
        elif arguments.json:
            print(json.dumps(row(file, found)), flush=True)
        else:
            print(line(file, found), flush=True)
        if arguments.show:
            read.append((file, found))
    if read:
        draw(read[:MOST_DRAWN], arguments.show, model.reads.scaling)
    if failed:
        raise SystemExit(1)


def files_in(names: list[str]) -> Iterator[str]:
    """Yield the files that are named, and those in a folder and its folders, in order."""
    for name in names:
        inside = Path(name).rglob("[!.]*") if Path(name).is_dir() else ()
        yield from sorted(str(path) for path in inside if path.is_file()) or [name]


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lstm.predict",
        description="Classify pictures or sequences by the trained model.",
    )
    files = "a picture (- is standard input), a CSV or .npy file, or a folder of such"
    shown = f"draw what the model saw, and believed, of the first {MOST_DRAWN}"
    parser.add_argument("files", nargs="+", metavar="FILE", help=files)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object a line")
    form.add_argument("--csv", action="store_true", help="a table")
    parser.add_argument("--show", metavar="PNG", type=Path, help=shown)
    default = f"default: {MODEL}"
    parser.add_argument("--model", metavar="FILE", type=Path, default=MODEL, help=default)
    return parser.parse_args()


def row(file: str, found: Prediction) -> dict[str, Any]:
    """Return a file's row in a table: its two likeliest classes."""
    last = found.probabilities[-1]
    best = np.argsort(-last, kind="stable")[:2]
    (first, second), (p, q) = [found.classes[i] for i in best], last[best].tolist()
    return dict(zip(COLUMNS, (file, first, round(p, 6), second, round(q, 6)), strict=True))


def line(file: str, found: Prediction) -> str:
    """Return the same as a line for a person."""
    _, first, p, second, q = row(file, found).values()
    sure = "> 99.9%" if 0.999 < found.probability < 1 else f"{p:.1%}"  # none but 1 is 100%
    return f"{printable(file)}: {first}  {sure}  (or {second}, {q:.1%})"


def draw(
    read: list[tuple[str, Prediction]], path: Path, scaling: Mapping[str, Any]
) -> None:
    """Write a figure of what the model saw and how its belief moved to ``path``."""
    from mnist_lstm import drawing, figures  # here: Matplotlib takes a second to import

    images, p = (
        pad_sequence([torch.from_numpy(getattr(found, what)) for _, found in read], True)
        for what in ("image", "probabilities")
    )
    lengths = torch.tensor([len(found.image) for _, found in read])
    titles = [printable(Path(file).name) for file, _ in read]
    classes = tuple(drawing.drawable(read[0][1].classes))
    labels = torch.zeros_like(lengths)  # unknown
    split = Split(images, labels, classes, lengths=lengths, scaling=scaling)
    figures.save_figure(figures.predictions(split, titles, p), path)


if __name__ == "__main__":
    script.run(main, alone=False)
