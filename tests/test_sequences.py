"""Own sequences as splits: three ways in with one result, a test split, gaps."""

import random
from itertools import product

import numpy as np
import pytest
import torch

from mnist_lstm.plumbing import processes
from own_data import Data, problems, read, write_files, write_npz, write_ts


def everything(split):
    """Return all that a split is, for comparisons."""
    lengths = None if split.lengths is None else split.lengths.tolist()
    names = split.names(split.labels)
    return split.classes, split.x.tolist(), names, lengths, split.groups


def rows(split):
    """Return what each example is, in an order that does not depend on its place."""
    _, x, names, lengths, groups = everything(split)
    return sorted(map(repr, zip(x, names, lengths or names, groups, strict=True)))


@pytest.mark.parametrize("shortest", [3, 6])
def test_each_way_in_gives_the_same_splits(tmp_path, shortest):
    parts = {"train": Data(0, shortest=shortest), "test": Data(1, shortest=shortest)}
    for part, data in parts.items():
        write_npz(data, tmp_path / "npz", part)
        for ending in (".csv", ".npy"):
            write_files(data, tmp_path / ending, part, ending)
        (tmp_path / "ts").mkdir(exist_ok=True)
        write_ts(data, tmp_path / "ts", part)
    expected = read(tmp_path / "npz")
    for split, data in zip(expected, parts.values(), strict=True):
        assert (split.x.dtype, split.labels.dtype) == (torch.float32, torch.int64)
        assert split.x.shape == (20, 6, 2)
        assert split.picture == ""
        assert split.names(split.labels) == data.names.tolist()
        assert split.groups == tuple(data.groups)
        lengths = None if shortest == 6 else data.lengths.tolist()
        assert everything(split)[3] == lengths
        for x, (real, *_) in zip(split.x.numpy(), data.each(), strict=True):
            assert (x[: len(real)] == real).all()
            assert not x[len(real) :].any()
    for way in (".csv", ".npy"):
        assert [*map(rows, read(tmp_path / way))] == [*map(rows, expected)]
    for split, other in zip(read(tmp_path / "ts"), expected, strict=True):
        assert everything(split) == (*everything(other)[:4], ())


def test_the_padding_of_an_array_changes_nothing(tmp_path):
    data, other = Data(0), Data(0)
    write_npz(data, tmp_path / "zeros", "train")
    behind = np.arange(6) >= data.lengths[:, None]
    for padding in (np.nan, np.inf, -999):
        other.x[behind] = padding
        longer = np.pad(other.x, ((0, 0), (0, 2), (0, 0)), constant_values=padding)
        write_npz(other, tmp_path / "own", "train", x=longer.astype(np.float64))
        found, zeros = (map(everything, read(tmp_path / name)) for name in ("own", "zeros"))
        assert list(found) == list(zeros)


def test_types_of_arrays_are_read_by_their_values(folder, told):
    x = np.arange(24).reshape(6, 4)
    np.savez(folder / "train", x=x.astype(np.uint8), y=[2, 10, 2, 10, 2, 2], extra=1)
    np.savez(folder / "test", x=x.astype(np.float16), y=[2.0] * 6)
    train, test = read(folder)
    assert train.classes == ("2", "10")
    assert train.labels.tolist() == [0, 1, 0, 1, 0, 0]
    assert train.x.tolist() == test.x.tolist() == x[:, :, None].tolist()
    lines = told()
    assert "own/train.npz: x [6, 4] is read as one value a step" in lines
    left = "own/train.npz: neither x, y, lengths nor groups, left out (1): extra"
    assert left in lines
    assert "own/test: no sequences of a class (1): 10" in lines


def test_files_have_the_order_of_people_whatever_the_system_and_processes(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(processes, "_FEW", 0)
    ordered = [*product(("1", "9", "10"), ("a2", "a10"), (5, 6, 10))]
    splits = []
    for n_worker in (1, 3):
        for i in random.Random(n_worker).sample(range(18), 18):
            name, group, file = ordered[i]
            path = tmp_path / f"{n_worker}/train/{name}/{group}/{file}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{i}.5")
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_worker: n)
        splits.append(read(tmp_path / str(n_worker)))
    for split, other in zip(*splits, strict=True):
        assert everything(split) == everything(other)
        assert split.x.flatten().tolist() == sorted(split.x.flatten().tolist())
        assert split.classes == ("1", "9", "10")


def test_missing_values_are_refused_by_their_place_or_left_to_be_filled(tmp_path):
    data = Data(0, shortest=6)
    data.x[3, 2, 1] = data.x[4, 0, 0] = np.nan
    for part in ("train", "test"):
        write_npz(data, tmp_path / "npz", part)
        write_files(data, tmp_path / "csv", part, grouped=False)
        (tmp_path / "ts").mkdir(exist_ok=True)
        write_ts(data, tmp_path / "ts", part)
    for way, place, name in (
        ("npz", "own/train.npz: x[3]", ""),
        ("csv", "own/train/rest/3.csv", " (ay)"),
        ("ts", "own/train.ts, line 10", ""),
    ):
        what = f"1 missing value, the first in step 3, column 2{name}"
        found = problems(tmp_path / way)
        assert len(found) == 4
        assert found[0] == f"{place}: {what}; `prepare.missing: mean` fills them"
        for split in read(tmp_path / way, missing="mean"):
            assert split.x.isnan().nonzero().tolist() == [[3, 2, 1], [4, 0, 0]]


def test_a_sequence_or_a_column_without_any_value_is_refused(folder):
    data = Data(0)
    data.x[5] = data.x[:, :, 1] = np.nan
    write_npz(data, folder, "train")
    assert problems(folder, missing="mean") == [
        "own/train.npz: x[5]: without any value",
        "own/train.npz: column 2 has no value in any sequence",
    ]


def test_train_and_test_must_fit(folder):
    write_npz(Data(0), folder, "train")
    names = np.array(["rest", "run"] * 10)
    write_npz(Data(1), folder, "test", x=np.zeros((20, 6, 3)), y=names)
    assert problems(folder) == [
        "own/test.npz: x[1], class 'run': a class of which own/train.npz has no sequence",
        "own/test.npz: 3 values in a step, but own/train.npz has 2",
    ]


def test_what_is_in_both_splits_or_in_two_classes_is_told(folder, told):
    train, test = Data(0), Data(1)
    test.x[4], test.lengths[4] = train.x[7], train.lengths[7]
    train.x[15], train.lengths[15] = train.x[2], train.lengths[2]
    write_npz(train, folder, "train")
    write_npz(test, folder, "test")
    read(folder)
    x = "own/train.npz: x"
    assert told() == [
        "own: groups both in train and in test (4): p1, p2, p3, p10",
        f"the same sequence in two classes (1): {x}[15] as {x}[2]",
        f"the same sequence in test and in train (1): own/test.npz: x[4] as {x}[7]",
    ]


def held_out(folder, **changes):
    """Return what is tested on, by its first value, and the groups of both splits."""
    train, test = read(folder, **changes)
    assert min(len(train), len(test)) > 0
    assert {*test.labels.tolist()} <= {*train.labels.tolist()}
    return {x[0, 0].item() for x in test.x}, {*train.groups}, {*test.groups}


def test_without_test_data_whole_groups_are_drawn(folder, told):
    data = Data(0, 400)
    groups = np.array([f"s{i % 20}" for i in range(400)])
    write_npz(data, folder, "train", groups=groups)
    tested, train, test = held_out(folder)
    assert (len(test), len(tested)) == (4, 80)
    assert not train & test
    (line,) = told()
    assert line.startswith(
        "own/test: no sequences; 20% of own/train.npz are held out for testing, as groups "
    )
    assert held_out(folder, seed=1)[2] != test


def test_no_group_is_drawn_that_a_class_cannot_do_without(folder):
    data = Data(0)
    only = np.where(data.names == "walk", "w", data.groups)
    write_npz(data, folder, "train", groups=only)
    for seed in range(8):
        assert "w" not in held_out(folder, seed=seed)[2]
    write_npz(data, folder, "train", groups=data.names)
    assert problems(folder) == [
        "own/test: no sequences, and no group of own/train.npz can be held out whole: each "
        "is the only one of a class; add test data"
    ]


def test_without_groups_a_share_of_each_class_is_drawn_by_content(folder, told):
    data = Data(0, 100)
    write_npz(data, folder, "train", groups=None)
    tested, *_ = held_out(folder)
    assert len(tested) == 20
    line = "own/test: no sequences; 20% of each class of own/train.npz is held out for test"
    assert told() == [f"{line}ing"]
    order = np.random.default_rng(0).permutation(100)
    data.x, data.names, data.lengths = data.x[order], data.names[order], data.lengths[order]
    write_npz(data, folder, "train", groups=None)
    assert held_out(folder)[0] == tested
    assert held_out(folder, seed=1)[0] != tested
    idle = data.names == "rest"  # such a sensor stays on one side
    data.x[idle], data.lengths[idle] = data.x[0], 6
    write_npz(data, folder, "train", groups=None)
    line = "own/train.npz, class 'rest': one sequence; without own/test a class needs two"
    assert problems(folder) == [f"{line} that differ"]
    data.x[idle.argmax()] += 1
    write_npz(data, folder, "train", groups=None)
    told()
    read(folder)
    assert not [line for line in told() if "in test and in train" in line]
