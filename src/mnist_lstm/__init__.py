"""An LSTM that reads MNIST row by row, and what it takes to train and evaluate it.

``from mnist_lstm import load, predict`` classifies pictures or
sequences: see :mod:`mnist_lstm.predict`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_lstm.predict import PictureError, Prediction, SequenceError, load, predict

__all__ = ["PictureError", "Prediction", "SequenceError", "load", "predict"]


class _Package(ModuleType):
    """Has what ``__all__`` names, imported when it is asked for: that takes a moment."""

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(import_module("mnist_lstm.predict"), name)

    def __setattr__(self, name: str, value: object) -> None:
        # The import of the module `predict` would hide the function of that name.
        if name != "predict":
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
