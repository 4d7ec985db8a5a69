"""Classify pictures of one's own: ``python -m mnist_lstm.predict FILE...``.

A line a file on standard output: the class, its probability, the second choice. A picture
that cannot be read has its line on standard error, and the others are classified none the
less; the exit status is 1 then.
"""

from mnist_lstm.plumbing import script

script.end_in_one_line()  # at Ctrl-C, from here on: PyTorch takes seconds to import

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lstm.picture import image_of, open_picture
from mnist_lstm.plumbing.errors import ModelError, PictureError, printable

if TYPE_CHECKING:  # PyTorch takes 2 seconds: who mistypes a name need not wait for it
    import numpy as np
    from torch import Tensor

    from mnist_lstm.model import LSTMClassifier

MODEL = Path("models/model.safetensors")
MOST_BYTES = 256 * 2**20  # of a file


class Prediction(NamedTuple):
    """What the model makes of a picture."""

    file: str
    image: "np.ndarray"  # uint8 [L x Q], what the model saw
    p: "Tensor"  # [L x classes], the probabilities after each row


def main() -> None:
    """Run the command."""
    arguments = parse_arguments()
    model = load(arguments.model)
    names = model.reads.classes
    status = 0
    found = []
    for file, outcome in predictions(arguments.files, model):
        if isinstance(outcome, PictureError):
            print(f"error: {printable(file)}: {outcome}", file=sys.stderr)
            status = 1
            continue
        report = describe(outcome, names)
        print(json.dumps(report) if arguments.json else format_report(report), flush=True)
        found.append(outcome)
    if arguments.show and found:
        draw(found, names, arguments.show)
    if status:
        raise SystemExit(status)


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
        TensorFileError: no such file, or damaged.
        ModelError: a file of other tensors.
    """
    if not path.exists():
        raise ModelError.missing(path)
    from mnist_lstm.model import load_model
    from mnist_lstm.plumbing.params import ModelParams
    from mnist_lstm.tensorfile import load_tensors

    _, metadata = load_tensors(path, writer="train")
    try:
        params = ModelParams(**metadata["model"])
    except (KeyError, TypeError, ValueError):
        raise ModelError.not_a_model(path) from None
    return load_model(path, params)


def predictions(
    files: list[str], model: "LSTMClassifier"
) -> Iterator[tuple[str, Prediction | PictureError]]:
    """Yield each file and what the model makes of it, or why it cannot."""
    import torch

    from mnist_lstm.splits import to_input

    _, picture, length = model.reads
    for file in files:
        try:
            image = image_of(open_picture(read(file)), picture, length, model.params.xdim)
        except PictureError as error:
            yield file, error
            continue
        with torch.inference_mode():
            p = model.read(to_input(torch.from_numpy(image)[None])).softmax(2)[0]
        yield file, Prediction(file, image, p)


def read(file: str) -> bytes:
    """Return the bytes of ``file``; of standard input where it is ``-``.

    Raises:
        PictureError: it cannot be read, or is too large for a picture.
    """
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise PictureError.missing() from None
    except IsADirectoryError:
        raise PictureError.folder() from None
    except (OSError, ValueError) as error:  # a name with a null byte
        raise PictureError.unreadable(getattr(error, "strerror", None) or error) from None
    if len(data) > MOST_BYTES:
        raise PictureError.too_long(MOST_BYTES)
    return data


def describe(prediction: Prediction, names: Sequence[str]) -> dict[str, Any]:
    """Return the two likeliest classes of a picture, with their probabilities."""
    p, classes = prediction.p[-1].topk(2)
    (first, second), (sure, other) = classes.tolist(), p.tolist()
    return {
        "file": prediction.file,
        "class": names[first],
        "probability": round(sure, 6),
        "second": names[second],
        "second_probability": round(other, 6),
    }


def format_report(report: dict[str, Any]) -> str:
    """Return the line of a picture for a person."""
    first, second = (percent(report[k]) for k in ("probability", "second_probability"))
    file = printable(report["file"])
    return f"{file}: {report['class']}  {first}  (or {report['second']}, {second})"


def percent(p: float) -> str:
    """Return a probability as a person reads it; none but 1 is 100%."""
    return "> 99.9%" if 0.999 < p < 1 else f"{p:.1%}"


def draw(found: list[Prediction], names: Sequence[str], path: Path) -> None:
    """Write a figure of what the model saw and how its belief moved to ``path``."""
    import torch

    from mnist_lstm import figures

    images = torch.stack([torch.from_numpy(each.image) for each in found])
    titles = [printable(Path(each.file).name) for each in found]
    p = torch.stack([each.p for each in found])
    figures.save_figure(
        figures.predictions(images, titles, p, figures.drawable(names)), path
    )


if __name__ == "__main__":
    script.run(main, alone=False)
