"""Data sets, own images and pictures, as the tensors that a model reads."""
