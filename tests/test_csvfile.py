"""A table of anyone's in text: what is read, what is told, and what is refused where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mnist_lstm.data.arrays import COARSE, missing_in
from mnist_lstm.data.csvfile import COUNTS, DECIMAL, INDEX, NUMBERED, PAIRS, read_csv
from mnist_lstm.plumbing.errors import UserError

PLAIN = [[1.5, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "names", "notes", "values"),
    [
        ("1.5,2\r\r\n3,4\r\r\n", "", (), PLAIN),  # Python's csv on Windows
        (" 1.5 , 2\n3, 4\n\n\n", "", (), PLAIN),
        ("1.5\n3\n", "", (), [[1.5], [3]]),
        ("1.5,2,\n3,4,\n", "", (), PLAIN),  # a logger that ends each value with a comma
        ("x,y\n1.5,2,\n3,4,\n", "x y", (), PLAIN),
        ("   1.5000000e+00   2.0e0\n   3   4\n", "", (), PLAIN),  # MATLAB's -ascii
        ("# x y\n% made on Monday, at 9\n\n1.5 2\n3 4\n", "", (), PLAIN),  # numpy.savetxt
        ('sep=;\n"x";"y"\n"1,5";"2"\n"3";"4"\n', "x y", (DECIMAL,), PLAIN),  # Excel
        (",x,y\n128,1.5,2\n129,3,4\n", "x y", (INDEX,), PLAIN),  # pandas, a later window
        ("Unnamed: 0,x,y\n0,1.5,2\n1,3,4\n", "x y", (INDEX,), PLAIN),
        (",0,1\n0,1.5,2\n1,3,4\n", "0 1", (NUMBERED, INDEX), PLAIN),
        ("0,1\n1.5,2\n3.0,4\n", "0 1", (NUMBERED,), PLAIN),  # pandas without the index
        ("1;2\n1.5;2\n3.0;4\n", "1 2", (NUMBERED,), PLAIN),
        ("1\n1.5\n3.0\n", "", (), [[1], [1.5], [3]]),
        ("0,1\n1,2\n3,4\n", "", (PAIRS,), [[0, 1], [1, 2], [3, 4]]),
        ("x,y\n0,1\n1,2\n", "x y", (), [[0, 1], [1, 2]]),
        ("t,x\n0,5.5\n1,5\n2,4\n", "t x", (COUNTS,), [[0, 5.5], [1, 5], [2, 4]]),
        (
            "1732838400.1;1\n1732838400.9;2",
            "",
            (COARSE,),
            [[1732838400, n] for n in (1, 2)],
        ),
        ("Acc X, raw\n1.5\n3\n-2\n", "Acc X, raw", (), [[1.5], [3], [-2]]),
        ("time,0,1\n1,2,0.5\n", "time 0 1", (), [[1, 2, 0.5]]),
    ],
)
def test_a_table_is_read_as_its_writer_meant_it(text, names, notes, values):
    table = read_csv(text.encode())
    assert (table.values.tolist(), " ".join(table.names)) == (values, names)
    assert table.notes == notes
    assert read_csv(text.replace("x", "\u00e4").encode("latin-1")).values.tolist() == values


@pytest.mark.parametrize("gap", ["", "NaN", "-nan", "N/a", "null", "?", " "])
def test_gaps_are_counted_and_placed(gap):
    table = read_csv(f"x,y\n1.5,{gap}\n{gap},{gap}\n".encode())
    assert np.isnan(table.values).tolist() == [[False, True], [True, True]]
    said = "3 missing values, the first in step 1, column 2 (y)"
    assert missing_in(table.values, table.names) == said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\n \n", "an empty file"),
        ("# nothing\n# here\n", "no values"),
        ("x,y\n", "no values below the names of the columns"),
        ("PK\x03\x04\0\0", "zero bytes in it, and so no text; save the table as CSV"),
        ("x,y\n1,2\n3,abc\n", "line 3, column 2 (y): 'abc' is no number"),
        ("1.5,abc\n3,4\n", "line 1, column 2: 'abc' is no number"),
        ("1_0,2\n3,4\n", "line 1, column 1: '1_0' is no number"),
        ('x,y\n"a\nb",2\n', "line 3, column 1 (x): 'ab' is no number"),
        ("1,2\n-1e39,2\n", "line 2, column 1: '-1e39' is infinite in float32"),
        ("1,2\n3\n", "line 2: 1 cell, expected 2 as in line 1"),
        ("x\n1,5\n2,5\n", "line 1: 1 cell, 2 below"),
        ("1,2\n\n3,4\n", "line 2: empty, between others"),
        (",y\n7,2\n5,4\n", "column 1 has no name; write one, or remove the column"),
        ("1,05\n1,10\n", "line 1: '05' begins with 0, as behind a decimal comma; write"),
        ('1,"2,500"\n3,4\n', "line 1, column 2: '2,500' is no number"),
        ("1,5;2\n3;4.5\n", "line 2, column 2: '4.5' is no number, unlike others with a d"),
        (
            "time;x\n2024-01-01T00:00;1\n",
            "line 2, column 1 (time): '2024-01-01T00:00' is a",
        ),
        ("12:30:01.5 2\n12:31 3\n", "line 1, column 1: '12:30:01.5' is a time stamp; rem"),
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
