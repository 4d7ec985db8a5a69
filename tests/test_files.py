import contextlib
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

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
            pytest.raises(files.BusyError) as caught,
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


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe"])
def test_what_is_no_regular_file_stays_and_is_named(tmp_path, kind):
    path = tmp_path / "out"
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "socket":
            server.bind(str(path))
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            os.mkfifo(tmp_path / "pipe")
            path.symlink_to("pipe")
        with pytest.raises(UserError, match="out: not a regular file; name another"):
            files.write_bytes(path, b"new")
        with pytest.raises((UserError, OSError)), files.replacing_folder(path):
            pass
    assert path.exists()
    assert not path.is_file()
    assert not (tmp_path / ".out.part").exists()


@pytest.mark.parametrize("path", ["/", ".", "..", "a/.."])
def test_a_place_without_a_name_is_a_folder(tmp_path, monkeypatch, path):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="a folder stands in the place of a file"):
        files.write_bytes(Path(path), b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_what_stands_in_the_place_of_a_file_or_folder_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    places = {
        "folder": (tmp_path / "folder", "a folder stands in the place of a file; move"),
        "below": (tmp_path / "file/a/b", "what stands there is no folder; move it away"),
        "circle": (tmp_path / "circle/b", "what stands there is no folder; move it away"),
    }
    for path, advice in places.values():
        with pytest.raises(UserError) as caught:
            files.write_bytes(path, b"new")
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{tmp_path / path.relative_to(tmp_path).parts[0]}: ")
        assert advice in line


@pytest.fixture(params=["pipe", "socket", "/dev/zero", "folder", "huge", "big"])
def odd(request, tmp_path):
    """What does not end, or not soon, in a file's place."""
    path = tmp_path / "x"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        os.mknod(path, stat.S_IFSOCK)
    elif request.param == "/dev/zero":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 300 * 10**9 if request.param == "huge" else 101)
    return path


def test_what_may_never_end_is_not_read(odd):
    reasons = "not a regular|No such device|Is a directory|more than the 100 allowed"
    with pytest.raises(OSError, match=reasons) as caught:
        files.read_regular(odd, most=100)
    assert caught.value.filename == str(odd)


def test_a_regular_file_is_read_up_to_the_most_bytes(tmp_path):
    for content in (b"", b"x" * 100):
        (tmp_path / "x").write_bytes(content)
        assert files.read_regular(tmp_path / "x", most=100) == content


def test_a_file_that_memory_has_no_room_for_is_named(tmp_path):
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 2**34)
    code = "import sys; from pathlib import Path; from mnist_lstm.plumbing import files\n"
    code += "files.read_regular(Path(sys.argv[1]), 2**40)"
    command = [
        "bash",
        "-c",
        'ulimit -v 4000000; exec "$@"',
        "-",
        sys.executable,
        "-c",
        code,
    ]
    done = subprocess.run([*command, path], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith(
        f"out of memory: it has 17,179,869,184 bytes: '{path}'"
    )
