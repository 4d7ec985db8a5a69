import pytest

from mnist_lstm.plumbing.errors import TableError
from mnist_lstm.results import read_csv

INCOMPLETE = "incomplete table, expected columns epoch, loss;"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file; the stage `train` writes it"),
        (b"", "not a table: No columns to parse from file; see stage `train`"),
        (b"\xff\xfe\x00", "not a table: 'utf-8' codec can't decode"),
        (b'epoch,loss\n"0,1\n', "not a table: "),
        (
            b"epoch,loss\n",
            f"{INCOMPLETE} found 0 rows of epoch, loss",
        ),
        (
            b"epoch\n1\n",
            f"{INCOMPLETE} found 1 rows of epoch;",
        ),
        (
            b"epoch,loss\n0,0.5\n1\n",
            f"{INCOMPLETE} found 2 rows",
        ),
    ],
)
def test_a_damaged_table_is_one_line_that_names_it(tmp_path, content, found):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError) as caught:
        read_csv(path, ["epoch", "loss"], "train")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {found}")
