"""The baseline of `speed.py`: the same model, trained as the original notebook does.

torchvision's MNIST, `ToTensor` on each image each time it is read, a `DataLoader` with one
worker, `nn.LSTM`, Adam, the accuracy on both splits after each epoch. Not tuned in any way.
"""

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor


class Classifier(nn.Module):
    """Two layers of 256 hidden units, and a linear layer on the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(28, 256, 2, batch_first=True)
        self.lin = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [N x 10] for images [N x 28 x 28]."""
        h0 = torch.zeros(2, len(x), 256, device=x.device)
        c0 = torch.zeros(2, len(x), 256, device=x.device)
        rnn_out, _ = self.rnn(x, (h0, c0))
        return self.lin(rnn_out[:, -1:]).squeeze(1)


class Notebook:
    """The run; ``root`` holds MNIST as torchvision lays it out, ``n`` limits each split."""

    def __init__(self, root: Path, device: torch.device, n: int | None = None):
        self.device = device
        self.loaders: dict[str, DataLoader] = {}
        for name in ("train", "test"):
            images = MNIST(root, train=name == "train", transform=ToTensor())
            some = images if n is None else Subset(images, range(len(images))[:n])
            self.loaders[name] = DataLoader(some, 256, shuffle=True, num_workers=1)
        self.model = Classifier().to(device)
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def train_epoch(self) -> None:
        """Train for an epoch."""
        self.model.train()
        for images, labels in self.loaders["train"]:
            logits = self.model(images.view(-1, 28, 28).to(self.device))
            loss = self.loss(logits, labels.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def accuracy(self, name: str) -> float:
        """Return the accuracy on ``train`` or ``test``."""
        self.model.eval()
        correct = total = 0
        with torch.no_grad():
            for images, labels in self.loaders[name]:
                logits = self.model(images.view(-1, 28, 28).to(self.device))
                correct += (logits.argmax(1) == labels.to(self.device)).sum().item()
                total += len(labels)
        return correct / total
