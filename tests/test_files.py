import contextlib
import json
import subprocess
import sys

import pandas as pd
import pytest

from mnist_lstm import files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "model"
    path.write_text("old")
    with contextlib.suppress(RuntimeError), files.replacing(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_fails_leaves_the_old_folder_and_nothing_beside(tmp_path):
    path = tmp_path / "raw"
    path.mkdir()
    (path / "old").touch()
    with contextlib.suppress(RuntimeError), files.replacing_folder(path) as beside:
        (beside / "half").touch()
        raise RuntimeError
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole(tmp_path):
    path = tmp_path / "raw"
    path.mkdir()
    (path / "old").touch()
    with files.replacing_folder(path) as beside:
        (beside / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]


def test_what_a_killed_run_left_is_no_part_of_the_next(tmp_path):
    left = tmp_path / ".raw.part"
    left.mkdir()
    (left / "half").touch()
    with files.replacing_folder(tmp_path / "raw") as beside:
        (beside / "whole").touch()
    assert [file.name for file in (tmp_path / "raw").iterdir()] == ["whole"]
    assert [file.name for file in tmp_path.iterdir()] == ["raw"]


def test_two_processes_do_not_fill_a_folder_at_once(tmp_path):
    with files.replacing_folder(tmp_path / "data/raw") as beside:
        (beside / "first").touch()
        with (
            pytest.raises(files.BusyError) as caught,
            files.replacing_folder(tmp_path / "data/raw"),
        ):
            pass
    assert str(caught.value).startswith(f"{tmp_path}/data/: another process writes there; ")
    assert [file.name for file in (tmp_path / "data/raw").iterdir()] == ["first"]


def test_a_process_that_died_holds_no_one_up(tmp_path):
    code = "import os, sys\nfrom pathlib import Path\nfrom mnist_lstm import files\n"
    code += "with files.alone_in(Path(sys.argv[1])):\n    os._exit(9)"
    died = subprocess.run([sys.executable, "-c", code, tmp_path])
    assert died.returncode == 9
    with files.alone_in(tmp_path):
        pass


def test_json_is_indented_and_its_floats_are_short(tmp_path):
    files.write_json(tmp_path / "metrics" / "m.json", {"a": {"b": 1 / 3}, "n": 821770})
    text = (tmp_path / "metrics" / "m.json").read_bytes()
    assert text == b'{\n  "a": {\n    "b": 0.333333\n  },\n  "n": 821770\n}\n'
    assert json.loads(text)["n"] == 821770


def test_csv_has_short_floats_and_lines_that_end_in_lf(tmp_path):
    files.write_csv(
        tmp_path / "t.csv", pd.DataFrame({"epoch": [0, 1], "loss": [2 / 3, 0.5]})
    )
    assert (tmp_path / "t.csv").read_bytes() == b"epoch,loss\n0,0.666667\n1,0.5\n"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file; the stage `train` writes it"),
        (b"", "no table: No columns to parse from file; see stage `train`"),
        (b"\xff\xfe\x00", "no table: 'utf-8' codec can't decode"),
        (b'epoch,loss\n"0,1\n', "no table: "),
        (b"epoch,loss\n", "no whole table with epoch, loss; found 0 rows of epoch, loss"),
        (b"epoch\n1\n", "no whole table with epoch, loss; found 1 rows of epoch;"),
        (b"epoch,loss\n0,0.5\n1\n", "no whole table with epoch, loss; found 2 rows"),
    ],
)
def test_a_damaged_table_is_one_line_that_names_it(tmp_path, content, found):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(files.TableError) as caught:
        files.read_csv(path, ["epoch", "loss"], "train")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {found}")
