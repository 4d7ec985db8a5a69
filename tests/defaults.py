"""The parameters that tests start from, typed and not."""

from pathlib import Path

from mnist_lstm.plumbing.params import (
    AugmentParams,
    ModelParams,
    TrainParams,
    parse_yaml,
)

ROOT = Path(__file__).parent.parent


def _defaults() -> dict[str, dict]:
    """Return the tests' own parameters, and of params.yaml the keys that are new there."""
    here, own = (
        parse_yaml((ROOT / file).read_text(), file)
        for file in ("params.yaml", "tests/params.yaml")
    )
    return {section: keys | own.get(section, {}) for section, keys in here.items()}


DEFAULT = _defaults()
DIGITS = tuple("0123456789")
TINY = DEFAULT | {
    "model": DEFAULT["model"] | {"hdim": 16, "n_layer": 1},
    "train": DEFAULT["train"]
    | {"epochs": 2, "batch_size": 64, "lr": 0.01, "device": "cpu"},
}
# Everything that the default leaves off, at once.
ALL_ON = {
    "model": {"dropout": 0.2, "init": "keras"},
    "train": {"optimizer": "muon", "schedule": "one_cycle", "final_lr": 1e-4}
    | {"weight_decay": 0.01, "clip": 1.0, "label_smoothing": 0.1, "ema": 0.9},
    "augment": {"rotation": 10, "elastic": 0.5, "fade": 0.5}
    | dict.fromkeys(["scale", "shear", "shift"], 0.1),
}


def model_params(**changes):
    """Return the default model's parameters but for ``changes``."""
    return ModelParams(**(DEFAULT["model"] | changes))


def train_params(**changes):
    """Return the default training's parameters but for ``changes``."""
    return TrainParams(**(DEFAULT["train"] | changes))


def augment_params(**changes):
    """Return the default augmentation's parameters, all off, but for ``changes``."""
    return AugmentParams(**(DEFAULT["augment"] | changes))
