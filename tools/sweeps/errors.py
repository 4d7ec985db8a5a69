"""What a person can put right before a sweep or in the midst of it."""

from mnist_lstm.plumbing.errors import UserError


class SweepError(UserError):
    """A sweep that cannot begin, or did not bring all of its results back."""
