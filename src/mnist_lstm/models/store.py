"""A trained model in a file: its weights, its parameters, and what it was made to read."""

from pathlib import Path

import torch

from mnist_lstm.models.base import Model, Reads, make_model
from mnist_lstm.plumbing.errors import UserError, one_line
from mnist_lstm.plumbing.params import ModelParams
from mnist_lstm.tensorfile import load_tensors, save_tensors

# Parameters that an LSTM's file does not name, and what they then are.
_YOUNGER = {"name": "lstm", "n_head": 4}


def save_model(model: Model, path: Path, reads: Reads) -> None:
    """Write the weights to ``path``, with the model's parameters and what it ``reads``."""
    metadata: dict = {"model": _kept(model.params), "reads": reads._asdict()}
    for name in ("greys", "scaling"):
        if not metadata["reads"][name]:
            del metadata["reads"][name]
    if model.kept is not None:
        metadata["kept"] = model.kept
    save_tensors(path, model.state_dict(), metadata)


def load_model(
    path: Path,
    params: ModelParams,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
) -> Model:
    """Read a model of ``params`` from ``path`` onto ``device``, to evaluate it.

    Its ``reads`` says what it was trained on; in a model that was not loaded it is empty.

    Raises:
        TensorFileError: no such file, or damaged.
        UserError: another model than ``params`` describe, or no model.
    """
    weights, metadata = load_tensors(path, writer="train")
    try:
        trained, reads = params_in(metadata), Reads(**metadata["reads"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not a model; the stage `train` writes it") from None
    if _kept(trained) != _kept(params):
        found, asked = trained.model_dump(), params.model_dump()
        keys = [key for key in found if found[key] != asked[key]]
        holds, asks = (
            ", ".join(f"{key} {values[key]}" for key in keys) for values in (found, asked)
        )
        raise UserError(
            f"{path}: holds a model of {holds}, params.yaml asks for {asks}; "
            "`dvc repro` trains it"
        )
    with torch.device("meta"):  # nothing is drawn: the caller's generator stays as it is
        model = make_model(params, precision)
    try:
        model.to_empty(device=device).load_state_dict(weights)
    except RuntimeError as error:  # the file of the model has changed since
        raise UserError(f"{path}: {one_line(error)}; `dvc repro` trains it") from None
    model.reads = reads._replace(classes=tuple(reads.classes))
    model.kept = metadata.get("kept")
    return model.eval()


def params_in(metadata: dict) -> ModelParams:
    """Return the parameters in the metadata of a model's file; any error if none are."""
    return ModelParams(**_YOUNGER | metadata["model"])


def _kept(params: ModelParams) -> dict:
    """Return what a model's file has of its parameters: of an LSTM, as it always had."""
    younger = set(_YOUNGER) if params.name == "lstm" else set()
    return params.model_dump(exclude=younger)
