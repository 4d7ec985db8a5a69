"""What the classes are called."""

from mnist_lstm.plumbing.params import ModelParams


def class_names(params: ModelParams) -> list[str]:
    """Return the name of each class, in the order of the logits."""
    return [str(label) for label in range(params.ydim)]
