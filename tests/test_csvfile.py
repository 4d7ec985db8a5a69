"""A table of anyone's in text: what is read, what is told, and what is refused where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mnist_lstm.data.csvfile import read_csv
from mnist_lstm.plumbing.errors import UserError

PLAIN = [[1.5, 2], [3, 4]]
INDEX = "a first column without a name that counts, as pandas writes its index, left out"
NUMBERED = "a first line that counts, 0, 1, 2, ..., taken for the names of the columns"
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
        ("1;2\n1.5;2\n3.0;4\n", "1 2", (NUMBERED,), PLAIN),
        ("0\n1.5\n3.0\n", "0", (NUMBERED,), [[1.5], [3]]),
        ("1\n1.5\n3.0\n", "", (), [[1], [1.5], [3]]),
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


@pytest.mark.parametrize("gap", ["", "NaN", "-nan", "NA", "n/a", "null", "?", " "])
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
