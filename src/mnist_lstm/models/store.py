"""A trained model in a file: its weights, its parameters, and what it was made to read."""

from pathlib import Path

import torch

from mnist_lstm.models.lstm import LSTMClassifier, Reads
from mnist_lstm.plumbing.errors import UserError, one_line
from mnist_lstm.plumbing.params import ModelParams
from mnist_lstm.tensorfile import load_tensors, save_tensors


def save_model(model: LSTMClassifier, path: Path, reads: Reads) -> None:
    """Write the weights to ``path``, with the model's parameters and what it ``reads``."""
    metadata = {"model": model.params.model_dump(), "reads": reads._asdict()}
    if not reads.greys:
        del metadata["reads"]["greys"]
    save_tensors(path, model.state_dict(), metadata)


def load_model(
    path: Path,
    params: ModelParams,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
) -> LSTMClassifier:
    """Read a model of ``params`` from ``path`` onto ``device``, to evaluate it.

    Its ``reads`` says what it was trained on; in a model that was not loaded it is empty.

    Raises:
        TensorFileError: no such file, or damaged.
        UserError: another model than ``params`` describe, or no model.
    """
    weights, metadata = load_tensors(path, writer="train")
    try:
        reads = Reads(**metadata["reads"])
    except (KeyError, TypeError):
        raise UserError(f"{path}: not a model; the stage `train` writes it") from None
    with torch.device("meta"):  # nothing is drawn: the caller's generator stays as it is
        model = LSTMClassifier(params, precision)
    try:
        model.to_empty(device=device).load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{path}: not of the model in params.yaml, which `dvc repro` trains: "
            f"{one_line(error)}"
        ) from None
    model.reads = reads._replace(classes=tuple(reads.classes))
    return model.eval()
