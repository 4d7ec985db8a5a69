"""`make repro` where a kill, a disk or a dead process left DVC's own files as they are."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import repair
from sandbox import ran

pytestmark = pytest.mark.long  # make soak runs what is marked slow, too


def cut(path):
    """Leave what can be read to the middle of a word."""
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"md5: ", len(content) // 2) + 2])


def test_what_a_kill_left_of_dvcs_own_files_is_put_right_and_nothing_runs(copy):
    """DVC writes both in place, and refuses to run where it finds half of one."""
    path = copy.path / "dvc.lock"
    lock = path.read_bytes()
    (copy.path / ".dvc/tmp/rwlock").write_text('{"write": {"data')
    cut(path)
    output = copy.run("tools/repro")
    assert "dvc.lock was unreadable, as after a kill; this goes on from the comm" in output
    assert ran(output) == []
    assert path.read_bytes() == lock
    copy.git("rm", "--quiet", "--cached", "dvc.lock")
    copy.git("commit", "--quiet", "--message", "No lock")
    cut(path)
    output = copy.run("tools/repro")
    assert "this begins anew" in output
    assert ran(output) == []
    assert path.read_bytes() == lock


def test_what_a_disk_left_of_the_lock_is_put_right_and_a_conflict_left(copy, monkeypatch):
    monkeypatch.chdir(copy.path)
    whole = repair.LOCK.read_bytes()
    for left in (b"", b"\0" * 99, b"\xff", b"[" * 99, b"- 1"):
        repair.LOCK.write_bytes(left)
        assert repair.repair_lock()[0].startswith("dvc.lock was unreadable"), left
        assert repair.ASIDE.read_bytes() == left
        assert repair.LOCK.read_bytes() == whole
        assert repair.repair_lock() == []
    repair.LOCK.write_bytes(b"<<<<<<< HEAD\n" + whole)
    assert repair.repair_lock() == []


def test_what_a_living_dvc_is_just_writing_is_left_to_it(copy):
    (copy.path / "dvc.lock").write_bytes(b"")
    code = "from dvc.repo import Repo\nwith Repo().lock: print('writing'), input()"
    writing = [sys.executable, "-uc", code, "dvc", "repro"]
    mend = ("bash", "-c", "python tools/repair.py </dev/null")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(writing, cwd=copy.path, **pipes) as process:
        process.stdout.readline()
        assert copy.run(*mend, ok=False) == ""
        process.stdin.close()
    assert (copy.path / "dvc.lock").read_bytes() == b""
    assert "was unreadable" in copy.run(*mend)


def damage_in_cache(project, damage):
    """Damage the model in DVC's cache, read-only as it is; return its path and content."""
    lock = yaml.safe_load(project.text("dvc.lock"))
    md5 = lock["stages"]["train"]["outs"][0]["md5"]
    path = project.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(damage(whole))
    path.chmod(0o444)
    (project.path / "models/model.safetensors").unlink()
    return path, whole


def test_a_file_that_is_cut_in_dvcs_cache_is_made_anew(copy):
    """By `make repro`, and by plain DVC after the commands that the guarantees name."""
    text = Path("docs/guarantees.md").read_text()
    names = r"chmod -R u\+w \.dvc/cache/files|rm -r \.dvc/cache/runs"
    commands = re.findall(f"`({names}|git checkout HEAD -- dvc.lock)`", text)
    assert len(commands) == 3
    path, whole = damage_in_cache(copy, lambda content: content[:8000])
    copy.dvc("checkout")
    assert "up to date" in copy.dvc("repro")  # DVC takes it for whole
    output = copy.run("tools/repro")
    assert f"{path} was damaged; it is gone" in output
    assert ran(output) == ["train"]
    assert path.read_bytes() == whole
    assert copy.git("status", "--porcelain") == ""
    damage_in_cache(copy, lambda content: content[:8000])
    copy.dvc("checkout")
    cut(copy.path / "dvc.lock")
    for command in commands:
        copy.run("bash", "-c", command)
    assert ran(copy.dvc("repro")) == ["train"]
    assert (copy.path / "models/model.safetensors").read_bytes() == whole


@pytest.mark.slow
def test_a_bit_that_flips_in_dvcs_cache_is_told_by_a_stage_and_put_right(copy):
    path, whole = damage_in_cache(copy, lambda content: content[:-1] + b"\x01")
    copy.set_params({"plot": {"seed": 1}})
    output = copy.run("tools/repro")
    assert "error: models/model.safetensors: damaged: it does not match its own" in output
    assert ran(output) == ["plot", "train", "plot"]
    assert path.read_bytes() == whole


def in_use(project, process):
    """Note, as DVC does, that ``process`` writes a figure; change what it is made from."""
    info = {"pid": process.pid, "cmd": "dvc repro"}
    path = project.path / ".dvc/tmp/rwlock"
    path.write_text(json.dumps({"write": {str(project.path / "plots/samples.png"): info}}))
    project.set_params({"plot": {"seed": 1}})


def test_a_dead_dvc_that_dvc_takes_for_a_live_one_holds_no_one_up(copy):
    """Nobody has waited for it."""
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        in_use(copy, process)
        assert ran(copy.run("tools/repro")) == ["plot"]


def test_a_live_dvc_keeps_what_it_uses_and_another_program_with_its_number_does_not(
    copy, monkeypatch
):
    monkeypatch.chdir(copy.path)
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen([*sleep, "dvc", "repro"]) as process:
        in_use(copy, process)
        output = copy.run("tools/repro", ok=False)
        process.kill()
    assert "is busy, it is being blocked by" in output
    with subprocess.Popen(sleep) as process:
        in_use(copy, process)
        repair.forget_the_dead()
        process.kill()
    assert not repair.IN_USE.exists()
