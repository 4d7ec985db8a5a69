import contextlib
import subprocess
import sys

import pytest

from mnist_lstm.plumbing import files
from mnist_lstm.plumbing.errors import UserError


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
            pytest.raises(UserError) as caught,
            files.replacing_folder(tmp_path / "data/raw"),
        ):
            pass
    assert str(caught.value).startswith(
        f"{tmp_path}/data: another process is at work there; "
    )
    assert [file.name for file in (tmp_path / "data/raw").iterdir()] == ["first"]


def test_a_process_that_died_holds_no_one_up(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom mnist_lstm.plumbing import files\n"
    )
    code += "with files.alone_in(Path(sys.argv[1])):\n    os._exit(9)"
    died = subprocess.run([sys.executable, "-c", code, tmp_path])
    assert died.returncode == 9
    with files.alone_in(tmp_path):
        pass


def test_a_link_in_the_place_of_a_folder_is_named_and_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "raw").symlink_to(tmp_path / "disk")
    with pytest.raises(UserError) as caught, files.replacing_folder(tmp_path / "raw"):
        pass
    assert str(caught.value).startswith(
        f"{tmp_path}/raw: a symbolic link, and DVC keeps no"
    )
    assert (tmp_path / "raw").is_symlink()


@pytest.mark.parametrize("left", ["folder", "file", "dangling link"])
@pytest.mark.parametrize("write", [files.write_bytes, None])
def test_whatever_lies_beside_its_place_is_replaced(tmp_path, left, write):
    beside = tmp_path / ".x.part"
    if left == "folder":
        (beside / "in it").mkdir(parents=True)
    elif left == "file":
        beside.touch()
    else:
        beside.symlink_to("/nonexistent")
    if write:
        write(tmp_path / "x", b"new")
        assert (tmp_path / "x").read_bytes() == b"new"
    else:
        with files.replacing_folder(tmp_path / "x") as folder:
            (folder / "new").touch()
        assert [file.name for file in (tmp_path / "x").iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("place", ["folder", "file/a"])
def test_what_stands_in_the_place_of_a_file_stays_and_is_named(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"{place.partition('/')[0]}'$"):
        files.write_bytes(tmp_path / place, b"new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]
