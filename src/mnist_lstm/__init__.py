"""An LSTM that reads MNIST row by row, and what it takes to train and evaluate it."""
