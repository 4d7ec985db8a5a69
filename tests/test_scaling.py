"""Sequences standardised: by whose mean, and what is told of values that hardly fit."""

import pytest
import torch

from mnist_lstm.data.preparation import hold_out
from mnist_lstm.data.scaling import standardise
from mnist_lstm.data.splits import Split
from mnist_lstm.plumbing.errors import ParamsError


def sequences(lengths=None, scale=(5.0, 0.01), seed=0):
    """200 sequences of 20 steps of two features."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 20, 2, generator=generator)
    x = x * torch.tensor(scale) + torch.tensor((3e4, -2.0))
    return Split(x, torch.arange(200) % 4, tuple("abcd"), "", lengths=lengths)


def test_each_feature_has_mean_0_and_deviation_1_over_the_real_steps_of_train(capsys):
    lengths = torch.arange(200) % 20 + 1
    train, test = sequences(lengths=lengths), sequences(seed=1)
    raw = train.x.clone()
    found = standardise({"train": train, "test": test}, "refuse")
    real = torch.arange(20) < lengths[:, None]
    x = found["train"].x
    torch.testing.assert_close(x[real].mean(0), torch.zeros(2), rtol=0, atol=1e-3)
    torch.testing.assert_close(x[real].std(0), torch.ones(2), rtol=0, atol=1e-3)
    assert not x[~real].any()
    scaling = found["test"].scaling
    back = x * torch.tensor(scaling["deviation"]) + torch.tensor(scaling["mean"])
    torch.testing.assert_close(back[real], raw[real])
    assert capsys.readouterr().out == ""


def test_missing_values_become_the_mean():
    torn = sequences()
    torn.x[:50, 3, 0] = float("nan")
    found = standardise({"train": torn}, "mean")["train"]
    assert not found.x[:50, 3, 0].any()
    assert found.x.isfinite().all()
    assert found.x.mean((0, 1)).abs().max() < 1e-3
    assert found.scaling["missing"] == "mean"


def test_a_constant_feature_and_other_units_are_told(capsys):
    train = sequences()
    train.x[:, :, 1] = 7.0
    found = standardise({"train": train, "test": sequences(scale=(5000.0, 0.0))}, "refuse")
    out = capsys.readouterr().out
    assert "train: constant, and so of no use: feature 2\n" in out
    assert "test: 2 of 2 features lie elsewhere than in train; feature 1 has mean" in out
    assert not found["train"].x[:, :, 1].any()


def test_images_stay_as_they_are_and_dim_ones_are_told(split, capsys):
    before = split.x.clone()
    standardise({"train": split, "test": split}, "refuse")
    assert torch.equal(split.x, before)
    assert capsys.readouterr().out == ""
    dim = Split(torch.randint(100, 160, (60, 9, 9)).byte(), split.labels, split.classes)
    standardise({"train": dim}, "refuse")
    assert "pixels (0 to 1) have a standard deviation of 0.07, MNIST's 0.31" in (
        capsys.readouterr().out
    )


def grouped(groups):
    """120 sequences of one step and four classes, of groups that follow one another."""
    n = 120 // len(groups)
    owners = tuple(group for group in groups for _ in range(n))
    return Split(
        torch.zeros(120, 1, 1), torch.arange(120) % 4, tuple("abcd"), groups=owners
    )


def test_whole_groups_are_held_out_and_the_seed_chooses_them():
    drawn = set()
    for seed in range(9):
        parts = hold_out(grouped("abcdefghijkl"), 30, seed, "group")
        train, valid = (frozenset(parts[name].groups) for name in ("train", "valid"))
        assert (len(train), len(valid), len(train & valid)) == (9, 3, 0)
        drawn.add(valid)
    assert len(drawn) > 5


def test_without_groups_none_can_be_held_out(split):
    with pytest.raises(ParamsError, match=r"valid_split must be random or last: .* no gro"):
        hold_out(split, 10, 0, "group")
    with pytest.raises(ParamsError, match=r"valid_split must be .* each is needed for"):
        hold_out(grouped("x"), 4, 0, "group")
