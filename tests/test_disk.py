"""Full disks: small file systems, really full."""

import shutil
import subprocess

import pytest

NO_ROOM = "No space left on device; make room, then run this again"
MOUNT = ("unshare", "--map-root-user", "--mount", "bash", "-c")


def may_mount():
    if not shutil.which("unshare"):
        return False
    command = [*MOUNT, "mount -t tmpfs none /mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="no file system may be mounted here")
@pytest.mark.parametrize(
    ("folder", "room", "file"),
    [
        ("checkpoints", "100k", "checkpoints/"),
        ("models", "4k", "models/model.safetensors"),
    ],
)
@pytest.mark.long
def test_training_on_a_full_disk_is_one_line_and_resumes_once_there_is_room(
    prepared, finished, tmp_path, folder, room, file
):
    project = prepared.copy(tmp_path / "project")
    (project.path / folder).mkdir(exist_ok=True)
    script = (
        f"mount -t tmpfs -o size={room} none {folder}; dvc repro train; "
        "find checkpoints -name '*.safetensors'; "
        f"mount -o remount,size=10m {folder}; echo Room; exec dvc repro train"
    )
    full, _, roomy = project.run(*MOUNT, script).partition("Room\n")
    (line,) = [line for line in full.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {file}")
    assert line.endswith(NO_ROOM)
    assert "Traceback" not in full
    saved = "\ncheckpoints/" in full
    # One that is due in an evaluation has its logits, too, and may not fit at all.
    assert saved or folder == "checkpoints"
    assert ("resuming from epoch " in roomy) == saved
    for name in ("dvc.lock", "plots/history.csv"):
        assert (project.path / name).read_bytes() == (finished.path / name).read_bytes()
