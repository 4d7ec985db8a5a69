"""Own sequences as they come: of which kind they are, and what is refused of each."""

import numpy as np
import pytest
import torch

from mnist_lstm.data.csvfile import INDEX
from own_data import Data, problems, read, write_files


def test_a_group_is_a_folder_for_all_files_or_for_none(folder):
    write_files(Data(0), folder, "train")
    (folder / "train/rest/p1/2.csv").rename(folder / "train/rest/2.csv")
    assert problems(folder) == [
        "own/train/rest/p1/6.csv: in a folder within its class, as of a group, but "
        "own/train/rest/2.csv is in none"
    ]


def test_columns_must_be_the_same_in_all_files_by_number_and_name(folder):
    write_files(Data(0), folder, "train", grouped=False)
    (folder / "train/rest/0.csv").write_text("ay,ax\n1,2\n")
    (folder / "train/walk/13.csv").write_text("1.5,2,3\n")
    like = "but own/train/rest/1.csv has 2 columns (ax, ay)"
    assert problems(folder) == [
        f"own/train/rest/0.csv: 2 columns (ay, ax), {like}",
        f"own/train/walk/13.csv: 3 columns (no names), {like}",
    ]


def test_faults_of_many_files_are_told_at_once_and_what_is_odd_by_its_count(folder, told):
    write_files(Data(0), folder, "train", grouped=False)
    for i in range(3):
        (folder / f"train/rest/{i}.csv").write_text(f",ax,ay\n0,{i}.5,2\n1,3,4\n")
    read(folder)
    names = ", ".join(f"own/train/rest/{i}.csv" for i in range(3))
    assert f"{INDEX} (3): {names}" in told()
    for i in range(25):
        (folder / f"train/rest/bad{i}.csv").write_text("1.5,x\n")
    (folder / "train/loose.csv").write_text("1\n")
    found = problems(folder)
    place = "in no folder of a class; expected own/train/CLASS/SEQUENCE"
    assert found[0] == f"own/train/loose.csv: {place}"
    assert found[1] == "own/train/rest/bad0.csv: line 1, column 2: 'x' is no number"
    assert found[20:] == ["and 6 more"]


X, Y = np.arange(36.0).reshape(6, 3, 2), np.array([0, 1] * 3)
FITS = "expected a whole number from 1 to 3"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"x": None}, "no x in it, only y"),
        ({"x": X[0, 0]}, "x [2], expected [sequences x steps x values]"),
        ({"x": X[:0], "y": Y[:0]}, "x [0, 3, 2], without values"),
        ({"x": X.astype(complex)}, "x of type complex128, expected numbers"),
        ({"x": X.astype(object)}, "Python objects in it; save arrays of num"),
        ({"x": X * 1e38}, "x[0, 2, 0] is 4e+38: no float32"),
        ({"y": Y[:, None]}, "y [6, 1], expected [6] as x has sequences"),
        ({"y": Y / 2}, "y of float64, expected text or whole numbers"),
        ({"groups": [0]}, "groups [1], expected [6] as x has sequences"),
        ({"lengths": [2.5] * 6}, f"lengths[0] is 2.5, {FITS}"),
        ({"lengths": [3, np.nan] * 3}, f"lengths[1] is nan, {FITS}"),
        ({"lengths": [3, 3, 3, 3, 4, 3]}, f"lengths[4] is 4, {FITS}"),
        ({"lengths": [3] * 5}, "lengths [5] of int64, expected 6 whole numbers, as x"),
        ({"y": ["a", "b", "\x1b"] * 2}, "class '\\x1b': the name of a class must"),
        ({"y": Y * 0}, "1 class with sequences, expected 2 to 1,000"),
    ],
)
def test_arrays_that_make_no_sense_are_one_line(folder, changes, line):
    arrays = {"x": X, "y": Y} | changes
    np.savez(folder / "train", **{k: v for k, v in arrays.items() if v is not None})
    (told,) = problems(folder)
    assert told.startswith(f"own/train.npz: {line}")


def test_a_damaged_file_of_arrays_is_one_line(folder):
    np.savez_compressed(folder / "train", x=X, y=Y)
    whole = (folder / "train.npz").read_bytes()
    np.save(folder / "array.npy", X)
    alone = (folder / "array.npy").read_bytes()
    (folder / "array.npy").unlink()
    for bad in (b"", b"?" * 50, whole[:200], whole[:60] + b"?" * 9 + whole[69:], alone):
        (folder / "train.npz").write_bytes(bad)
        (told,) = problems(folder)
        assert told.startswith("own/train.npz: ")


def test_steps_of_nan_at_the_end_are_no_values_unless_lengths_says_so(folder):
    """As tslearn and others pad; their mean would be a silent wrong reading."""
    x = X.copy()
    x[3:, 2:] = np.nan
    for missing in ("refuse", "mean"):
        np.savez(folder / "train", x=x, y=Y)
        assert problems(folder, missing=missing) == [
            "own/train.npz: x[3] and 2 more end without values; if that is padding, add "
            "lengths"
        ]
        np.savez(folder / "train", x=x, y=Y, lengths=[3, 3, 3, 2, 2, 2])
        assert sorted(torch.cat([s.lengths for s in read(folder)])) == [2, 2, 2, 3, 3, 3]


HEAD = "@problemName Test\n@timeStamps false\n@classLabel true a b\n@data\n"


@pytest.mark.parametrize(
    ("head", "data", "line"),
    [
        ("export const", "", "no line with @data; expected the format of the UCR/UEA ar"),
        (HEAD.replace("false", "true"), "", "@timeStamps true: time stamps are not"),
        (HEAD.replace("true a b", "false"), "1:a\n", "no @classLabel true CLASS CLASS"),
        (HEAD, "1,2:3,4:a\n1,2:a\n", "line 6: 1 dimensions and a class, expected 2"),
        (f"@univariate true\n{HEAD}", "1:2:a\n", "line 6: 2 dimensions"),
        (HEAD, "1,2:3:a\n", "line 5: 1 values in dimension 2, 2 in dimension 1; all need"),
        (HEAD, "1,2:3,4:c\n", "line 5: class 'c', which @classLabel does not list"),
        (HEAD, "1,2\n", "line 5: no colon, which stands before a class"),
        (HEAD, "1,2:3,inf:a\n", "line 5: dimension 2, value 2: 'inf' is infinite in float"),
        (HEAD, "(0,1),(1,2):a\n", "line 5: dimension 1, value 1: '(0' is no number"),
        (HEAD, "", "no sequences below @data"),
    ],
)
def test_a_ts_file_that_is_not_read_says_in_which_line(folder, head, data, line):
    (folder / "train.ts").write_text(head + data)
    (told,) = problems(folder)
    assert told.startswith(f"own/train.ts: {line}")


def test_classes_of_a_ts_file_may_be_any_text(folder):
    head = HEAD.replace(" a b", " light on 'light off' ünder_way")
    data = "1,?:light on\n2,NaN:'light off'\n3,4 : ünder_way \n# a remark\n\n"
    for part in ("train", "test"):
        (folder / f"{part}.ts").write_text(head + data)
    train, _ = read(folder, missing="mean")
    assert train.classes == ("light off", "light on", "ünder_way")
    assert train.labels.tolist() == [1, 0, 2]
    assert train.x.isnan().sum() == 2


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ("README.md train/.a/1.csv test.dvc", ": no images and no sequences; docs/your"),
        ("train/a/x.mat train/b/y.xlsx", ": no images and no sequences, and .mat is not r"),
        ("train/a/1.png train/b/1.csv", ": data of two kinds, own/train/a/1.png and own/t"),
        ("train/a/1.csv test/a/1.tsv", ": data of two kinds, own/test/a/1.tsv and own/tr"),
        ("train.npz test.ts", ": data of two kinds, own/test.ts and own/train.npz; keep"),
        ("test.ts", "/train.ts: no such file, but own/test.ts"),
        ("Vowels_TRAIN.ts", "/Vowels_TRAIN.ts: expected own/train.ts and own/test.ts"),
        ("train/1.csv", "/train/1.csv: in no folder of a class; expected own/train/CLASS"),
        ("test/a/1.npy", "/train: no sequences; expected a folder for each class, own/t"),
        ("train/a/1.png train/a.csv train/a/n.txt", "/train: 1 class with images, expect"),
    ],
)
def test_one_kind_of_data_is_read_and_two_are_named(folder, files, line):
    for name in files.split():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [told for told in problems(folder) if told.startswith(f"own{line}")]


def test_a_file_of_one_array_must_be_a_sequence(folder):
    for name in "ab":
        (folder / "train" / name).mkdir(parents=True)
        for i in range(3):
            values = np.full((5, 1) if i else (5,), float(f"{ord(name)}.{i}"))
            np.save(folder / f"train/{name}/{i}.npy", values)
    train, _ = read(folder)
    assert train.x.shape[1:] == (5, 1)
    np.save(folder / "train/b/0.npy", np.zeros((2, 3, 4)))
    np.save(folder / "train/b/1.npy", np.zeros((0, 3)))
    (folder / "train/b/2.npy").write_bytes(b"\x93NUMPY?")
    first, second, third = problems(folder)
    expected = "expected [steps x values] or [steps]"
    assert first == f"own/train/b/0.npy: an array [2, 3, 4], {expected}"
    assert second == "own/train/b/1.npy: an array [0, 3], without values"
    assert third.startswith("own/train/b/2.npy: cannot be read: ")
