"""Own sequences: three ways in with one result; what is refused, and what is told."""

import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from defaults import DEFAULT
from mnist_lstm.data import own
from mnist_lstm.data.csvfile import read_csv
from mnist_lstm.plumbing import workers
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import PrepareParams

ARCHIVE = Path(os.environ.get("DATA_MIRROR", "."), "sequences")


def read(folder, **changes):
    """Read with the default parameters but for ``changes``."""
    return own.read_splits(folder, PrepareParams(**DEFAULT["prepare"] | changes))


def problems(folder, **changes):
    """Return the lines of the refusal, without the folder's place on this machine."""
    with pytest.raises(UserError) as caught:
        read(folder, **changes)
    return str(caught.value).replace(str(folder), "own").splitlines()


@pytest.fixture
def told(capsys, tmp_path):
    """Return a function: the lines printed since, without this machine's folder."""
    return lambda: capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


class Data:
    """20 sequences of 3 to 6 steps of 2 values, of two classes and four persons."""

    def __init__(self, seed, n=20, shortest=3):
        generator = np.random.default_rng(seed)
        self.lengths = generator.integers(shortest, 7, n)
        self.lengths[0] = 6
        self.x = generator.normal(size=(n, 6, 2)).astype(np.float32)
        self.names = np.array(["rest", "walk"]).repeat(n // 2)
        self.groups = np.array(["p10", "p2", "p1", "p3"])[np.arange(n) % 4]

    def each(self):
        for x, n, name, group in zip(
            self.x, self.lengths, self.names, self.groups, strict=True
        ):
            yield x[:n], name, group


def write_npz(data, folder, part, **other):
    arrays = {"x": data.x, "y": data.names, "lengths": data.lengths, "groups": data.groups}
    folder.mkdir(exist_ok=True)
    kept = {k: v for k, v in (arrays | other).items() if v is not None}
    np.savez(folder / f"{part}.npz", **kept)


def write_files(data, folder, part, ending=".csv", grouped=True):
    """Write a file a sequence; their names count in the order of the data."""
    for i, (x, name, group) in enumerate(data.each()):
        path = folder / part / name / (group if grouped else "") / f"{i}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if ending == ".npy":
            np.save(path, x)
        else:
            np.savetxt(path, x, "%.9g", ",", header="ax,ay", comments="")


def write_ts(data, folder, part):
    lines = [
        ":".join(",".join(f"{v:.9g}" for v in column) for column in x.T) + f":{name}"
        for x, name, _ in data.each()
    ]
    head = "# A remark\n@problemName Test\n@timeStamps false\n@dimensions 2\n"
    text = f"{head}@classLabel true rest walk\n@data\n" + "\n".join(lines) + "\n"
    (folder / f"{part}.ts").write_text(text)


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
    monkeypatch.setattr(workers, "_FEW", 0)
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


# A table in text.

PLAIN = [[1.5, 2], [3, 4]]
INDEX = "a first column without a name that counts, as pandas writes its index, left out"
NUMBERED = "a first line of 0, 1, 2, ... taken for the names of the columns"
DECIMAL = "decimal commas, read as points"
PAIRS = "two columns of whole numbers are read; if it is a decimal comma, write a point"
COUNTS = "the first column counts 0, 1, 2, ... and is read; remove it if it is no value"
BLURS = "numbers so large that float32 blurs them, as of the time since 1970, are read"


@pytest.mark.parametrize(
    ("text", "names", "notes", "values"),
    [
        ("1.5,2\n3,4\n", "", (), PLAIN),
        ("1.5,2\r\n3,4", "", (), PLAIN),
        ("1.5,2\r\r\n3,4\r\r\n", "", (), PLAIN),  # Python's csv on Windows
        ("1.5,2\r3,4\r", "", (), PLAIN),
        (" 1.5 , 2\n3,\t4\n\n\n".replace("\t", " "), "", (), PLAIN),
        ("1.5,2,\n3,4,\n", "", (), PLAIN),  # a logger that ends each value with a comma
        ("x,y\n1.5,2,\n3,4,\n", "x y", (), PLAIN),
        ("1.5\t2\n3\t4\n", "", (), PLAIN),
        ("   1.5000000e+00   2.0e0\n   3   4\n", "", (), PLAIN),  # MATLAB's -ascii
        ("# x y\n1.5 2\n3 4\n", "", (), PLAIN),  # numpy.savetxt
        ("% made on Monday, at 9\n\n1.5,2\n3,4\n", "", (), PLAIN),
        ("\ufeffx,y\n1.5,2\n3,4\n", "x y", (), PLAIN),  # Excel's CSV UTF-8
        ("x;y\n1,5;2\n3;4\n", "x y", (DECIMAL,), PLAIN),  # Excel's in most of Europe
        ("sep=;\nx;y\n1,5;2\n3;4\n", "x y", (DECIMAL,), PLAIN),
        ('"x";"y"\n"1,5";"2"\n"3";"4"\n', "x y", (DECIMAL,), PLAIN),
        ("1,5\t2\n3\t4\n", "", (DECIMAL,), PLAIN),
        ("1,5 2\n3 4\n", "", (DECIMAL,), PLAIN),
        ("1,500;2\n3,000;4\n", "", (DECIMAL,), PLAIN),
        (",x,y\n0,1.5,2\n1,3,4\n", "x y", (INDEX,), PLAIN),  # pandas.to_csv
        (",x,y\n128,1.5,2\n129,3,4\n", "x y", (INDEX,), PLAIN),  # the next window
        ("Unnamed: 0,x,y\n0,1.5,2\n1,3,4\n", "x y", (INDEX,), PLAIN),
        ('"","x","y"\n"1",1.5,2\n"2",3,4\n', "x y", (INDEX,), PLAIN),  # R's write.csv
        (",0,1\n0,1.5,2\n1,3,4\n", "0 1", (NUMBERED, INDEX), PLAIN),
        ("0,1\n1.5,2\n3.0,4\n", "0 1", (NUMBERED,), PLAIN),  # pandas without the index
        ("0,1\n1,2\n3,4\n", "", (PAIRS,), [[0, 1], [1, 2], [3, 4]]),
        ("x,y\n0,1\n1,2\n", "x y", (), [[0, 1], [1, 2]]),
        ("t,x\n0,5.5\n1,5\n2,4\n", "t x", (COUNTS,), [[0, 5.5], [1, 5], [2, 4]]),
        (
            "1732838400.1;1\n1732838400.9;2",
            "",
            (BLURS,),
            [[1732838400, 1], [1732838400, 2]],
        ),
        ("Acc X, raw\n1.5\n3\n-2\n", "Acc X, raw", (), [[1.5], [3], [-2]]),
        ("1.5\n3\n", "", (), [[1.5], [3]]),
        ("time,0,1\n1,2,0.5\n", "time 0 1", (), [[1, 2, 0.5]]),
    ],
)
def test_a_table_is_read_as_its_writer_meant_it(text, names, notes, values):
    table = read_csv(text.encode())
    assert table.values.tolist() == values
    assert " ".join(table.names) == names
    assert table.notes == notes
    assert table.missing == ""
    for encoding in ("utf-16", "latin-1"):
        if encoding == "utf-16" or text.isascii():
            again = read_csv(text.replace("x", "\u00e4").encode(encoding))
            assert again.values.tolist() == values


@pytest.mark.parametrize("gap", ["", "NaN", "nan", "NA", "n/a", "null", "?", " "])
def test_gaps_are_counted_and_placed(gap):
    table = read_csv(f"x,y\n1.5,2\n3,{gap}\n{gap},4\n".encode())
    assert table.missing == "2 missing values, the first in line 3, column 2 (y)"
    assert np.isnan(table.values).tolist() == [[False, False], [False, True], [True, False]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "an empty file"),
        ("\n\n \n", "an empty file"),
        ("# nothing\n# here\n", "no values"),
        ("x,y\n", "no values below the names of the columns"),
        ("PK\x03\x04\0\0", "zero bytes in it, and so no text; save the table as CSV"),
        ("x,y\n1,2\n3,abc\n", "line 3, column 2 (y): 'abc' is no number"),
        ("1,2\n3,abc\n", "line 2, column 2: 'abc' is no number"),
        ("1.5,abc\n3,4\n", "line 1, column 2: 'abc' is no number"),
        ("x,y\nm,s\n1,2\n", "line 2, column 1 (x): 'm' is no number"),  # units
        ('x,y\n"a\nb",2\n', "line 3, column 1 (x): 'ab' is no number"),
        ("x,y\n5%,2\n", "line 2, column 1 (x): '5%' is no number"),
        ("x,y\nTrue,2\n", "line 2, column 1 (x): 'True' is no number"),
        ("1_0,2\n3,4\n", "line 1, column 1: '1_0' is no number"),
        ("0x10,2\n3,4\n", "line 1, column 1: '0x10' is no number"),
        ("1,2\n1e39,2\n", "line 2, column 1: '1e39' is infinite in float32"),
        ("1,2\n-Inf,2\n", "line 2, column 1: '-Inf' is infinite in float32"),
        ("1,2\n3\n", "line 2: 1 cell, expected 2 as in line 1"),
        ("x,y\n1,2\n3,4,5\n", "line 3: 3 cells, expected 2 as in line 2"),
        ("x,y\n1,2,3\n", "line 1: 2 cells, 3 below"),
        ("1,2\n\n3,4\n", "line 2: empty, between others"),
        (",y\n7,2\n5,4\n", "column 1 has no name; write one, or remove the column"),
        # Decimal commas and thousands.
        ("x\n1,5\n2,5\n", "line 1: 1 cell, 2 below"),
        (
            "1,05\n1,10\n",
            "line 1: '05' begins with 0, as behind a decimal comma; write decimal points, "
            "or semicolons between the columns",
        ),
        ('1,"2,500"\n3,4\n', "line 1, column 2: '2,500' is no number"),
        (
            "1.234,5;2\n3;4\n",
            "line 1, column 1: '1.234,5' is no number, unlike others with a decimal comma",
        ),
        (
            "1,5;2\n3;4.5\n",
            "line 2, column 2: '4.5' is no number, unlike others with a decimal comma",
        ),
        ("1 234;2\n3;4\n", "line 1, column 1: '1 234' is no number"),
        # Time stamps.
        *(
            (f"time;x\n{stamp};1\n", f"line 2, column 1 (time): '{stamp}' is {advice}")
            for advice in ["a time stamp; remove the column"]
            for stamp in "2024-01-01T00:00 01.02.2024 12:30 2024/1/1 1/31/24".split()
        ),
        ("12:30:01.5 2\n12:30:02 3\n", "line 1, column 1: '12:30:01.5' is a time stamp; "),
    ],
)
def test_what_is_no_table_of_numbers_is_one_line_that_says_where(text, line):
    with pytest.raises(UserError) as caught:
        read_csv(text.encode())
    assert str(caught.value).startswith(line)
    assert str(caught.value).isprintable()


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None)
@given(
    values=arrays(
        np.float32, st.tuples(st.integers(1, 5), st.integers(2, 4)), elements=FINITE
    ),
    separator=st.sampled_from([",", ";", "\t", " "]),
    comma=st.booleans(),
    header=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_is_written_comes_back_to_the_bit(
    values, separator, comma, header, end, encoding
):
    lines = [separator.join(f"{v:.9e}" for v in row) for row in values.tolist()]
    if comma and separator != ",":
        lines = [line.replace(".", ",") for line in lines]
    if header:
        lines.insert(0, separator.join("abcd"[: values.shape[1]]))
    table = read_csv(end.join(lines).encode(encoding))
    assert np.array_equal(table.values, values)
    assert len(table.names) == (values.shape[1] if header else 0)


def test_columns_must_be_the_same_in_all_files_by_number_and_name(folder):
    write_files(Data(0), folder, "train", grouped=False)
    (folder / "train/walk/12.csv").write_text("ay,ax\n1,2\n")
    (folder / "train/walk/13.csv").write_text("ax,ay,az\n1,2,3\n")
    (folder / "train/walk/14.csv").write_text("1.5,2\n3,4\n")
    like = "but own/train/rest/0.csv has 2 columns (ax, ay)"
    assert problems(folder) == [
        f"own/train/walk/12.csv: 2 columns (ay, ax), {like}",
        f"own/train/walk/13.csv: 3 columns (ax, ay, az), {like}",
        f"own/train/walk/14.csv: 2 columns (no names), {like}",
    ]


def test_faults_of_many_files_are_told_at_once_and_what_is_odd_by_its_count(folder, told):
    write_files(Data(0), folder, "train", grouped=False)
    write_files(Data(1), folder, "test", grouped=False)
    for i in range(3):
        (folder / f"train/rest/{i}.csv").write_text(f",ax,ay\n0,{i}.5,2\n1,3,4\n")
    read(folder)
    names = ", ".join(f"own/train/rest/{i}.csv" for i in range(3))
    assert f"{INDEX} (3): {names}" in told()
    for i in range(25):
        (folder / f"train/rest/bad{i}.csv").write_text("1.5,x\n")
    (folder / "train/loose.csv").write_text("1\n")
    (folder / "train/walk/a/b").mkdir(parents=True)
    (folder / "train/walk/a/b/deep.csv").write_text("1\n")
    found = problems(folder)
    place = "in no folder of a class; expected own/train/CLASS/SEQUENCE"
    assert found[0] == f"own/train/loose.csv: {place}"
    assert found[1] == f"own/train/walk/a/b/deep.csv: {place}"
    assert found[2] == "own/train/rest/bad0.csv: line 1, column 2: 'x' is no number"
    assert found[20:] == ["and 7 more"]


# Arrays and the archive's format: what is refused.

X, Y = np.arange(36.0).reshape(6, 3, 2), np.array([0, 1] * 3)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"a": X}, "no x and no y in it, only a"),
        ({"x": X}, "no y in it, only x"),
        ({"x": X[0, 0], "y": Y}, "x [2], expected [sequences x steps x values]"),
        ({"x": X[None], "y": Y}, "x [1, 6, 3, 2], expected [sequences x steps x values]"),
        ({"x": X[:0], "y": Y[:0]}, "x [0, 3, 2], without values"),
        ({"x": X.astype(complex), "y": Y}, "x of type complex128, expected numbers"),
        ({"x": X.astype(str), "y": Y}, "x of type <U32, expected numbers"),
        ({"x": X.astype(object), "y": Y}, "Python objects in it; save arrays of num"),
        ({"x": X * 1e38, "y": Y}, "x[0, 2, 0] is 4e+38: no float32"),
        ({"x": np.where(X == 1, np.inf, X), "y": Y}, "x[0, 0, 1] is inf: no float32"),
        ({"x": X, "y": Y[:5]}, "y [5], expected [6] as x has sequences"),
        ({"x": X, "y": Y[:, None]}, "y [6, 1], expected [6] as x has sequences"),
        (
            {"x": X, "y": Y, "lengths": [np.nan] * 6},
            "lengths [6] of float64, expected 6 who",
        ),
        (
            {"x": X, "y": Y * np.nan},
            "y of float64 such as nan, expected text or whole numbers",
        ),
        ({"x": X, "y": Y / 2}, "y of float64 such as 0.5, expected text or whole numbers"),
        ({"x": X, "y": Y, "groups": [0]}, "groups [1], expected [6] as x has sequences"),
        (
            {"x": X, "y": Y, "lengths": [3] * 5},
            "lengths [5] of int64, expected 6 whole numbers, as x has sequences",
        ),
        (
            {"x": X, "y": Y, "lengths": [2.5] * 6},
            "lengths [6] of float64, expected 6 whole numbers, as x has sequences",
        ),
        (
            {"x": X, "y": Y, "lengths": [3, 3, 3, 0, 4, 3]},
            "lengths[3] is 0, expected 1 to 3, the steps of x",
        ),
        (
            {"x": X, "y": ["a", "b", "", "b", "a", "b"]},
            "class '': the name of a class must",
        ),
        (
            {"x": X, "y": ["a", "b", "\x1b"] * 2},
            "class '\\x1b': the name of a class must",
        ),
        ({"x": X, "y": Y * 0}, "1 class with sequences, expected 2 to 1,000"),
    ],
)
def test_arrays_that_make_no_sense_are_one_line(folder, found, line):
    np.savez(folder / "train", **found)
    (told,) = problems(folder)
    assert told.startswith(f"own/train.npz: {line}")


def test_a_damaged_file_of_arrays_is_one_line(folder):
    np.savez_compressed(folder / "train", x=X, y=Y)
    whole = (folder / "train.npz").read_bytes()
    for damaged in (b"", b"?" * 50, whole[:200], whole[:60] + b"?" * 9 + whole[69:]):
        (folder / "train.npz").write_bytes(damaged)
        (told,) = problems(folder)
        assert told.startswith("own/train.npz: ")
    (folder / "train.npz").unlink()
    np.save(folder / "train.npy", X)
    (folder / "train.npy").rename(folder / "train.npz")
    (told,) = problems(folder)
    assert told == "own/train.npz: a single array, expected x and y as np.savez writes them"
    with zipfile.ZipFile(folder / "train.npz", "w") as file:
        file.writestr("word/document.xml", "?")
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
    ("text", "line"),
    [
        ("", "an empty file"),
        (
            "export const a = 1\n",
            "no line with @data; expected the format of the UCR/UEA ar",
        ),
        (
            HEAD.replace("false", "true") + "(0,1):a\n",
            "@timeStamps true: time stamps are not",
        ),
        (
            HEAD.replace("true a b", "false"),
            "no @classLabel true CLASS CLASS ...: sequences",
        ),
        (
            HEAD.replace("classLabel true a b", "targetLabel true"),
            "no @classLabel true CLA",
        ),
        (HEAD + "1,2:3,4:a\n1,2:a\n", "line 6: 1 dimensions and a class, expected 2"),
        (HEAD + "1,2:3:a\n", "line 5: 1 values in dimension 2, 2 in dimension 1; all need"),
        (HEAD + "1,2:3,4:c\n", "line 5: class 'c', which @classLabel does not list"),
        (HEAD + "1,2:3,4:\n", "line 5: class '', which @classLabel does not list"),
        (HEAD + "1,2\n", "line 5: no colon, which stands before a class"),
        (HEAD + "1,2:3,x:a\n", "line 5: dimension 2, value 2: 'x' is no number"),
        (
            HEAD + "1,2:3,inf:a\n",
            "line 5: dimension 2, value 2: 'inf' is infinite in float",
        ),
        (HEAD + "(0,1),(1,2):a\n", "line 5: dimension 1, value 1: '(0' is no number"),
        (
            HEAD.replace("@data", "@univariate true\n@data") + "1:2:a\n",
            "line 6: 2 dimensions",
        ),
        (HEAD, "no sequences below @data"),
    ],
)
def test_a_ts_file_that_is_not_read_says_in_which_line(folder, text, line):
    (folder / "train.ts").write_text(text)
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


def test_a_group_is_a_folder_for_all_files_or_for_none(folder):
    write_files(Data(0), folder, "train")
    write_files(Data(1), folder, "test")
    train, test = read(folder)
    assert {*train.groups} == {*test.groups} == {"p1", "p2", "p3", "p10"}
    (folder / "train/rest/p1/2.csv").rename(folder / "train/rest/2.csv")
    assert problems(folder) == [
        "own/train/rest/p1/6.csv: in a folder within its class, as of a group, but "
        "own/train/rest/2.csv is in none"
    ]


# Of which kind the data are.


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (
            "",
            "own: no images and no sequences; docs/your-own.md says where they are expect",
        ),
        ("README.md train/.a/1.csv test.dvc", "own: no images and no sequences; docs/your"),
        (
            "train/a/x.mat train/b/y.mat train/b/z.xlsx",
            "own: no images and no sequences, and .mat is not read; docs/your-own.md says",
        ),
        (
            "train/a/1.png train/b/1.csv",
            "own: data of two kinds, own/train/a/1.png and own",
        ),
        (
            "train/a/1.csv train/b/1.npy",
            "own: data of two kinds, own/train/a/1.csv and own",
        ),
        (
            "train/a/1.csv test/a/1.tsv",
            "own: data of two kinds, own/test/a/1.tsv and own/t",
        ),
        (
            "train.npz test/a/1.csv",
            "own: data of two kinds, own/train.npz and own/test/a/1",
        ),
        (
            "train.npz test.ts",
            "own: data of two kinds, own/test.ts and own/train.npz; keep",
        ),
        ("test.npz", "own/train.npz: no such file, but own/test.npz"),
        ("Vowels_TRAIN.ts", "own/Vowels_TRAIN.ts: expected own/train.ts and own/test.ts"),
        (
            "train/1.csv",
            "own/train/1.csv: in no folder of a class; expected own/train/CLASS",
        ),
        (
            "test/a/1.npy",
            "own/train: no sequences; expected a folder for each class, own/t",
        ),
        (
            "train/a/1.png train/notes.csv train/a/n.txt",
            "own/train: 1 class with images, e",
        ),
    ],
)
def test_one_kind_of_data_is_read_and_two_are_named(folder, files, line):
    for name in files.split():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if path.suffix == ".npz":
            np.savez(path, x=X, y=Y)
        if path.suffix == ".npy":
            np.save(path, X[0])
    found = problems(folder)
    assert [told for told in found if told.startswith(line)]
    assert all("Traceback" not in told for told in found)


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ((2, 3, 4), "an array [2, 3, 4], expected [steps x values] or [steps]"),
        ((), "an array [], expected [steps x values] or [steps]"),
        ((0, 3), "an array [0, 3], without values"),
    ],
)
def test_a_file_of_one_array_must_be_a_sequence(folder, shape, line):
    for name in "ab":
        for i in range(3):
            path = folder / f"train/{name}/{i}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.full((5, 1) if i else (5,), float(f"{ord(name)}.{i}")))
    train, _ = read(folder)
    assert train.x.shape[1:] == (5, 1)
    np.save(folder / "train/b/0.npy", np.zeros(shape))
    (folder / "train/b/1.npy").write_bytes(b"\x93NUMPY?")
    found = problems(folder)
    assert found[0] == f"own/train/b/0.npy: {line}"
    assert found[1].startswith("own/train/b/1.npy: cannot be read: ")
