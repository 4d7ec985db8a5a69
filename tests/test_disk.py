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


@pytest.mark.skipif(not may_mount(), reason="no file system may be mounted here")
@pytest.mark.long
def test_preparing_on_a_full_disk_leaves_nothing_half_written(prepared, tmp_path):
    project = prepared.copy(tmp_path / "project")
    project.set_params({"prepare": {"valid_size": 100}})
    mount = (
        "mkdir full && cp -r data/raw full && mount -t tmpfs -o size=900k none data && "
        "cp -r full/raw data && { python stages/prepare.py; ls -A data; false; }"
    )
    output = project.run(*MOUNT, mount, ok=False, PYTHONPATH="src")
    *_, line, left = output.splitlines()
    assert line == f"error: data/.prepared.part/train.safetensors: {NO_ROOM}"
    assert left == "raw"
    assert "valid: 100 images" in project.dvc("repro", "prepare")


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("prepare", "data/.prepared.part/train.safetensors"),
        ("train", "checkpoints/"),
    ],
)
def test_a_limit_on_the_size_of_files_is_told_the_same_way(prepared, tmp_path, stage, file):
    """Where no file system may be mounted."""
    project = prepared.copy(tmp_path / "project")
    command = f"ulimit -f 8 && python stages/{stage}.py"
    output = project.run("bash", "-c", command, ok=False, PYTHONPATH="src")
    line = output.splitlines()[-1]
    assert line.startswith(f"error: {file}")
    assert line.endswith(": File too large; make room, then run this again")
    parts = [path for path in project.path.rglob(".*.part") if ".dvc" not in path.parts]
    assert parts == []
