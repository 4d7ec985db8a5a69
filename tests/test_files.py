import contextlib
import subprocess
import sys

import pytest

from mnist_lstm.plumbing import files
from mnist_lstm.plumbing.errors import UserError


@pytest.mark.parametrize("left", ["folder", "file"])
def test_a_file_or_folder_appears_whole_or_not_at_all(tmp_path, left):
    """Whatever a killed run left beside it."""
    folder, file = tmp_path / "raw", tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    file.write_text("old")
    for beside in (tmp_path / ".raw.part", tmp_path / ".model.part"):
        if left == "folder":
            (beside / "half").mkdir(parents=True)
        else:
            beside.touch()
    with contextlib.suppress(RuntimeError), files.replacing(file) as beside:
        beside.write_text("half")
        raise RuntimeError
    with contextlib.suppress(RuntimeError), files.replacing_folder(folder) as beside:
        (beside / "half").touch()
        raise RuntimeError
    assert file.read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["old"]
    files.write_bytes(file, b"new")
    with files.replacing_folder(folder) as beside:
        (beside / "new").touch()
    assert file.read_text() == "new"
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert sorted(tmp_path.iterdir()) == [file, folder]


def test_one_process_at_a_time_and_one_that_died_holds_no_one_up(tmp_path):
    code = "import os; from mnist_lstm.plumbing import files\n"
    code += "with files.alone_in('.'):\n    os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 9
    with files.alone_in(tmp_path):
        again = files.alone_in(tmp_path)
        with pytest.raises(UserError, match="another process is at work there"), again:
            pass
