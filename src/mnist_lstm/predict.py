"""Classify pictures of one's own: ``python -m mnist_lstm.predict FILE...``.

A line a file on standard output: the class, its probability, the second choice. A picture
that cannot be read has its line on standard error, and the others are classified none the
less; the exit status is 1 then.
"""

from mnist_lstm.plumbing import script

script.end_in_one_line()  # at Ctrl-C, from here on: PyTorch takes seconds to import

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lstm.picture import MAX_BYTES, greys_of, image_of, is_wide, open_picture
from mnist_lstm.plumbing.errors import ModelError, PictureError, printable

if TYPE_CHECKING:  # PyTorch takes 2 seconds: who mistypes a name need not wait for it
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

    from mnist_lstm.model import LSTMClassifier, Reads

MODEL = Path("models/model.safetensors")
MOST_DRAWN = 50  # pictures: a figure of more takes minutes


class Prediction(NamedTuple):
    """What the model makes of a picture."""

    file: str
    image: "np.ndarray"  # uint8 [L x Q], what the model saw
    p: "Tensor"  # [L x classes], the probabilities after each row
    names: Sequence[str]  # of the classes

    def report(self) -> dict[str, Any]:
        """Return the two likeliest classes, with their probabilities."""
        p, classes = self.p[-1].topk(2)
        (first, second), (sure, other) = classes.tolist(), p.tolist()
        return {
            "file": self.file,
            "class": self.names[first],
            "probability": round(sure, 6),
            "second": self.names[second],
            "second_probability": round(other, 6),
        }


def main() -> None:
    """Run the command."""
    arguments = parse_arguments()
    if not arguments.model.exists():
        raise ModelError.missing(arguments.model)
    model = functools.cache(lambda: load(arguments.model))
    found = []
    for file in arguments.files:
        try:
            picture = open_picture(read(file))  # before the model: it takes a moment
            found.append(predict(file, picture, model()))
            tell_assumed(file, picture, model().reads)
        except PictureError as error:
            print(f"error: {printable(file)}: {error}", file=sys.stderr)
            continue
        report = found[-1].report()
        print(json.dumps(report) if arguments.json else format_report(report), flush=True)
    if arguments.show and found:
        draw(found, arguments.show)
    if len(found) < len(arguments.files):
        raise SystemExit(1)


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lstm.predict",
        description="Classify pictures, each of one digit, by the trained model.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a picture; - is standard input"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    parser.add_argument(
        "--show", metavar="PNG", type=Path, help="draw what the model saw, and believed"
    )
    parser.add_argument(
        "--model", metavar="FILE", type=Path, default=MODEL, help=f"default: {MODEL}"
    )
    return parser.parse_args()


def load(path: Path) -> "LSTMClassifier":
    """Return the model in ``path``, whatever params.yaml asks for.

    Raises:
        TensorFileError: a damaged file.
        ModelError: a file of other tensors, or a model of one class.
    """
    from mnist_lstm.model import load_model
    from mnist_lstm.plumbing.params import ModelParams
    from mnist_lstm.tensorfile import load_tensors

    _, metadata = load_tensors(path, writer="train")
    try:
        params = ModelParams(**metadata["model"])
    except (KeyError, TypeError, ValueError):
        raise ModelError.not_a_model(path) from None
    if params.ydim < 2:  # no second choice; no stage writes it
        raise ModelError.not_a_model(path)
    return load_model(path, params)


def predict(file: str, picture: "Image", model: "LSTMClassifier") -> Prediction:
    """Classify ``picture``, which was read from ``file``.

    Raises:
        PictureError: there is no ink in it.
    """
    import torch

    from mnist_lstm.splits import to_input

    names, how, length, greys = model.reads
    image = image_of(picture, how, length, model.params.xdim, greys)
    with torch.inference_mode():
        p = model.read(to_input(torch.from_numpy(image)[None])).softmax(2)[0]
    return Prediction(file, image, p, names)


def tell_assumed(file: str, picture: "Image", reads: "Reads") -> None:
    """Say what is taken for black and white in a picture like none that was learnt from."""
    if is_wide(picture) and reads.picture == "scale" and picture.mode not in reads.greys:
        black, white = greys_of(picture.mode, picture)
        assumed = f"{black:,g} is taken for black and {white:,g} for white"
        print(f"note: {printable(file)}: {assumed}", file=sys.stderr)


def read(file: str) -> bytes:
    """Return the bytes of ``file``; of standard input where it is ``-``.

    Raises:
        PictureError: it cannot be read, or is too large for a picture.
    """
    try:
        if file == "-" and sys.stdin is None:
            raise PictureError.closed()
        if file == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PictureError.missing() from None
    except IsADirectoryError:
        raise PictureError.folder() from None
    except (OSError, ValueError) as error:  # a name with a null byte
        raise PictureError.unreadable(getattr(error, "strerror", None) or error) from None
    if len(data) > MAX_BYTES:
        raise PictureError.too_long(MAX_BYTES)
    return data


def format_report(report: dict[str, Any]) -> str:
    """Return the line of a picture for a person."""
    sure, less = (percent(report[k]) for k in ("probability", "second_probability"))
    first, second = report["class"], report["second"]  # names, checked as such
    return f"{printable(report['file'])}: {first}  {sure}  (or {second}, {less})"


def percent(p: float) -> str:
    """Return a probability as a person reads it; none but 1 is 100%."""
    return "> 99.9%" if 0.999 < p < 1 else f"{p:.1%}"


def draw(found: list[Prediction], path: Path) -> None:
    """Write a figure of what the model saw and how its belief moved to ``path``.

    It has the first ``MOST_DRAWN`` pictures.
    """
    import torch

    from mnist_lstm import figures

    if len(found) > MOST_DRAWN:
        which = f"the first {MOST_DRAWN} of {len(found):,} pictures"
        print(f"note: {printable(path)} shows {which}", file=sys.stderr)
        found = found[:MOST_DRAWN]
    images = torch.stack([torch.from_numpy(each.image) for each in found])
    titles = [printable(Path(each.file).name) for each in found]
    p = torch.stack([each.p for each in found])
    classes = figures.drawable(found[0].names)
    figures.save_figure(figures.predictions(images, titles, p, classes), path)


if __name__ == "__main__":
    script.run(main, alone=False, prints=True)
