"""Own sequences as splits: three ways in with one result, a test split, gaps."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from mnist_lstm.plumbing import processes
from own_data import Data, problems, read, write_files, write_npz, write_ts

ARCHIVE = Path(os.environ.get("DATA_MIRROR", "."), "sequences")


def rows(split):
    """Return what each example is, in an order that does not depend on its place."""
    n = [split.x.shape[1]] * len(split) if split.lengths is None else split.lengths
    groups = split.groups or [""] * len(split)
    names = split.names(split.labels)
    each = zip(split.x.tolist(), map(int, n), names, groups, strict=True)
    return sorted(map(repr, each))


def assert_same(splits, others):
    for split, other in zip(splits, others, strict=True):
        assert split.classes == other.classes
        assert torch.equal(split.x, other.x)
        assert torch.equal(split.labels, other.labels)
        assert split.groups == other.groups
        assert (split.lengths is None) == (other.lengths is None)
        if split.lengths is not None:
            assert torch.equal(split.lengths, other.lengths)


# The three ways.


@pytest.mark.parametrize("shortest", [3, 6])
def test_each_way_in_gives_the_same_splits(tmp_path, shortest):
    parts = {"train": Data(0, shortest=shortest), "test": Data(1, shortest=shortest)}
    for part, data in parts.items():
        write_npz(data, tmp_path / "npz", part)
        for ending in (".csv", ".txt", ".npy"):
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
        if shortest == 6:
            assert split.lengths is None
        else:
            assert split.lengths.tolist() == data.lengths.tolist()
        for x, (real, *_) in zip(split.x.numpy(), data.each(), strict=True):
            assert (x[: len(real)] == real).all()
            assert not x[len(real) :].any()
    for way in (".csv", ".txt", ".npy"):
        for split, other in zip(read(tmp_path / way), expected, strict=True):
            assert rows(split) == rows(other)
    for split, other in zip(read(tmp_path / "ts"), expected, strict=True):
        assert torch.equal(split.x, other.x)
        assert torch.equal(split.labels, other.labels)
        assert split.groups == ()


def test_the_padding_of_an_array_changes_nothing(tmp_path):
    data, other = Data(0), Data(0)
    behind = np.arange(6) >= data.lengths[:, None]
    for i, padding in enumerate((np.nan, np.inf, -999)):
        other.x[behind] = padding
        longer = np.pad(other.x, ((0, 0), (0, i), (0, 0)), constant_values=padding)
        folder = tmp_path / str(i)
        write_npz(other, folder, "train", x=longer.astype(np.float64))
        write_npz(other, folder, "test", x=longer)
        write_npz(data, tmp_path / "zeros", "train")
        write_npz(data, tmp_path / "zeros", "test")
        assert_same(read(folder), read(tmp_path / "zeros"))


def test_types_of_arrays_are_read_by_their_values(folder, told):
    x = np.arange(24).reshape(6, 4)
    for dtype in (np.int16, np.uint8, np.float16, np.float64):
        for part, y in (("train", [2, 10, 2, 10, 2, 2]), ("test", [2.0] * 6)):
            np.savez(folder / part, x=x.astype(dtype), y=np.array(y), extra=1)
        train, test = read(folder)
        assert train.classes == ("2", "10")
        assert train.labels.tolist() == [0, 1, 0, 1, 0, 0]
        assert train.x.tolist() == test.x.tolist() == x[:, :, None].tolist()
    lines = told()
    assert "own/train.npz: x [6, 4] is read as one value a step" in lines
    left = "own/train.npz: neither x, y, lengths nor groups, left out (1): extra"
    assert left in lines
    assert "own/test: no sequences of a class (1): 10" in lines
    assert [line for line in lines if "same sequence in two classes" in line] == []


def test_files_have_the_order_of_people_whatever_the_system_and_processes(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(processes, "_FEW", 0)
    ordered = [
        (c, g, f) for c in ("1", "9", "10") for g in ("a2", "a10") for f in (5, 6, 10)
    ]
    splits = []
    for n_worker in (1, 3):
        for key in random.Random(n_worker).sample(ordered, len(ordered)):
            c, g, f = key
            path = tmp_path / f"{n_worker}/train/{c}/{g}/{f}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{ordered.index(key)}.5")
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_worker: n)
        splits.append(read(tmp_path / str(n_worker)))
    assert_same(*splits)
    train, test = splits[0]
    for split in (train, test):
        assert split.x.flatten().tolist() == sorted(split.x.flatten().tolist())
    assert train.classes == ("1", "9", "10")


@pytest.mark.skipif(not ARCHIVE.exists(), reason="no files of the UCR/UEA archive here")
@pytest.mark.parametrize(
    ("name", "n", "shape", "lengths", "classes"),
    [
        ("JapaneseVowels", (270, 370), (29, 12), (7, 29), "1 2 3 4 5 6 7 8 9"),
        ("BasicMotions", (40, 40), (100, 6), None, "Badminton Running Standing Walking"),
        ("PickupGestureWiimoteZ", (50, 50), (361, 1), (29, 361), "1 2 3 4 5 6 7 8 9 10"),
    ],
)
def test_genuine_files_of_the_archive_are_read(folder, name, n, shape, lengths, classes):
    for part in ("train", "test"):
        (folder / f"{part}.ts").symlink_to(ARCHIVE / f"{name}_{part.upper()}.ts")
    splits = read(folder)
    assert tuple(map(len, splits)) == n
    for split in splits:
        assert split.x.shape[1:] == shape
        assert split.classes == tuple(classes.split())
        assert split.x.isfinite().all()
    if lengths:
        both = torch.cat([split.lengths for split in splits])
        assert (both.min(), both.max()) == lengths
    else:
        assert [split.lengths for split in splits] == [None, None]


# Missing values.


def test_missing_values_are_refused_by_their_place_or_left_to_be_filled(tmp_path):
    data = Data(0, shortest=6)
    data.x[3, 2, 1] = data.x[4, 0, 0] = np.nan
    for part in ("train", "test"):
        write_npz(data, tmp_path / "npz", part)
        for ending in (".csv", ".npy"):
            write_files(data, tmp_path / ending, part, ending, grouped=False)
        (tmp_path / "ts").mkdir(exist_ok=True)
        write_ts(data, tmp_path / "ts", part)
    fills = "; `prepare.missing: mean` fills them"
    for way, first, n in (
        ("npz", "own/train.npz: 2 missing values, the first at x[3, 2, 1]", 2),
        (
            ".csv",
            "own/train/rest/3.csv: 1 missing value, the first in line 4, column 2 (ay)",
            4,
        ),
        (".npy", "own/train/rest/3.npy: 1 missing value, the first at [2, 1]", 4),
        ("ts", "own/train.ts, line 10: 1 missing value, the first at [2, 1]", 4),
    ):
        found = problems(tmp_path / way)
        assert len(found) == n
        assert found[0] == first + fills
        for split in read(tmp_path / way, missing="mean"):
            assert split.x.isnan().nonzero().tolist() == [[3, 2, 1], [4, 0, 0]]


def test_a_sequence_or_a_column_without_any_value_is_refused(folder):
    data = Data(0)
    data.x[5] = data.x[:, :, 1] = np.nan
    data.x[5, :, 0] = np.nan
    write_npz(data, folder, "train")
    write_npz(Data(1), folder, "test")
    assert problems(folder, missing="mean") == [
        "own/train.npz: x[5]: without any value",
        "own/train.npz: column 2 has no value in any sequence",
    ]


# Between train and test.


def test_train_and_test_must_fit(folder):
    write_npz(Data(0), folder, "train")
    names = np.array(["rest", "run"] * 10)
    write_npz(Data(1), folder, "test", x=np.zeros((20, 6, 3)), y=names)
    assert problems(folder) == [
        "own/test.npz: x[1], class 'run': a class of which own/train.npz has no sequence",
        "own/test.npz: 3 values in a step, but own/train.npz has 2",
    ]


def test_the_longest_of_both_splits_is_the_length_of_both(folder):
    write_npz(Data(0), folder, "train")
    write_npz(Data(1), folder, "test", x=np.ones((20, 9, 2)), lengths=np.full(20, 8))
    train, test = read(folder)
    assert train.x.shape[1] == test.x.shape[1] == 8
    assert train.lengths.max() == 6
    assert set(test.lengths.tolist()) == {8}


def test_what_is_in_both_splits_or_in_two_classes_is_told(folder, told):
    train, test = Data(0), Data(1)
    test.x[4], test.lengths[4] = train.x[7], train.lengths[7]
    train.x[15], train.lengths[15] = train.x[2], train.lengths[2]
    write_npz(train, folder, "train")
    write_npz(test, folder, "test")
    read(folder)
    assert told() == [
        "own: groups both in train and in test (4): p1, p2, p3, p10",
        "the same sequence in two classes (1): own/train.npz: x[15] as own/train.npz: x[2]",
        "the same sequence in test and in train (1): own/test.npz: x[4] as own/train.npz: "
        "x[7]",
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
    assert len(test) == 4
    assert not train & test
    assert len(tested) == 80
    (line,) = told()
    assert line.startswith(
        "own/test: no sequences; 20% of own/train.npz are held out for testing, as groups "
    )
    assert held_out(folder, seed=1)[2] != test
    more = np.where(np.arange(400) % 40 == 39, "new", groups)
    write_npz(data, folder, "train", groups=more)
    assert len(held_out(folder)[2] ^ test) <= 2


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
    shuffled = {"x": data.x[order], "y": data.names[order], "lengths": data.lengths[order]}
    write_npz(data, folder, "train", groups=None, **shuffled)
    assert held_out(folder)[0] == tested
    assert held_out(folder, seed=1)[0] != tested
    data.x[:49], data.lengths[:49] = data.x[0], 6  # an idle sensor stays on one side
    write_npz(data, folder, "train", groups=None)
    told()
    read(folder)
    assert not [line for line in told() if "in test and in train" in line]
    data.x[49], data.lengths[49] = data.x[0], 6
    write_npz(data, folder, "train", groups=None)
    line = "own/train.npz, class 'rest': one sequence; without own/test a class needs two"
    assert problems(folder) == [f"{line} that differ"]
