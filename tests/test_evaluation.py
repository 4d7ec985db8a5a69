import math

import pytest
import torch

from defaults import model_params
from mnist_lstm import evaluation
from mnist_lstm.models.lstm import LSTMClassifier

LOGITS = torch.tensor([[2.0, 0, 0], [0, 0, 3], [0, 1, 0], [0, 1, 0]])


def test_score_is_the_share_that_is_right_and_the_mean_cross_entropy():
    score = evaluation.score(LOGITS, torch.tensor([0, 2, 1, 0]))
    assert score.accuracy == 0.75
    e = math.e
    chances = e**2 / (e**2 + 2), e**3 / (e**3 + 2), e / (e + 2), 1 / (e + 2)
    assert score.loss == pytest.approx(-sum(map(math.log, chances)) / 4)


def test_logits_come_in_the_order_of_the_images(split):
    torch.manual_seed(0)
    model = LSTMClassifier(model_params(hdim=8, n_layer=1))
    big = split.take(torch.arange(600) % 60)  # more than a batch
    logits = evaluation.compute_logits(model, big)
    alone = evaluation.compute_logits(model, split.take(torch.tensor([17])))
    torch.testing.assert_close(logits[557], alone[0])
