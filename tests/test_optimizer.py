import copy
import os
import subprocess
import sys

import pytest
import torch

from defaults import model_params, train_params
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.training.optimizer import AdamW, learning_rate, update_ema


@pytest.mark.parametrize(
    ("changes", "theirs"),
    [
        ({"beta1": 0.8, "beta2": 0.95}, torch.optim.Adam),
        ({"weight_decay": 0.1}, torch.optim.AdamW),
    ],
)
def test_a_step_has_the_bits_of_pytorchs_own(changes, theirs):
    params = train_params(lr=1e-2, **changes)
    torch.manual_seed(0)
    ours, by_hand = (LSTMClassifier(model_params(hdim=8)) for _ in range(2))
    by_hand.load_state_dict(ours.state_dict())
    own = AdamW(ours.parameters(), params)
    library = theirs(
        by_hand.parameters(),
        lr=1e-2,
        betas=(params.beta1, params.beta2),
        weight_decay=params.weight_decay,
        fused=True,
    )
    for lr in (1e-2, 1e-2, 3e-3):
        x = torch.rand(5, 28, 28)
        own.set_lr(lr)
        library.param_groups[0]["lr"] = lr
        for model, stepper in ((ours, own), (by_hand, library)):
            model.zero_grad()
            model(x).logsumexp(1).sum().backward()
            stepper.step()
    for a, b in zip(ours.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(a, b)


STEPS = """
import sys, torch, pandas
before = set(sys.modules)
import mnist_lstm.training.launcher
from defaults import augment_params, model_params, train_params
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.training.loop import Run, train_step
model = LSTMClassifier(model_params(hdim=2))
for name in ("adamw", "muon"):
    run = Run(model, train_params(clip=1.0, optimizer=name), augment_params())
    train_step(run, torch.rand(1, 28, 28), torch.zeros(1, dtype=torch.int64))
new = set(sys.modules) - before
print([name for name in new if name.startswith(("torch._dynamo", "torch.distributed"))])
"""


@pytest.mark.long
def test_a_step_imports_neither_the_compiler_nor_torch_distributed():
    """150 MB and seconds of start-up; but for what ``import torch`` itself brings."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(["src", "tests"])}
    command = [sys.executable, "-c", STEPS]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_one_cycle_rises_in_a_line_and_falls_along_a_cosine():
    params = train_params(schedule="one_cycle", lr=0.4, warmup=0.25, final_lr=0.1)
    rates = [learning_rate(params, step, 16) for step in range(16)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates[9] == pytest.approx(0.25)  # half-way down
    assert rates[15] == pytest.approx(0.1)
    assert rates[4] - rates[3] > rates[10] - rates[9]  # flat at the top
    assert learning_rate(params, 0, 1) == pytest.approx(0.1)  # a run of one step


def test_the_average_follows_fast_at_first_then_by_its_decay():
    """As one call it has the bits of one for each weight."""
    ema_model, model = (LSTMClassifier(model_params(hdim=33)) for _ in range(2))
    by_hand = copy.deepcopy(ema_model)
    for step in (1, 5, 1000):
        update_ema(ema_model, model, 0.99, step)
        share = 1 - min(0.99, (1 + step) / (10 + step))
        for mean, new in zip(by_hand.parameters(), model.parameters(), strict=True):
            mean.data.lerp_(new.data, share)
    for ours, theirs in zip(ema_model.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)
