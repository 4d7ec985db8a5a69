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
    lock = copy.text("dvc.lock")
    (copy.path / ".dvc/tmp/rwlock").write_text('{"write": {"data')
    cut(copy.path / "dvc.lock")
    output = copy.run("tools/repro")
    assert "dvc.lock was unreadable, as after a kill; this goes on from the comm" in output
    assert ran(output) == []
    assert copy.text("dvc.lock") == lock


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
    copy.git("rm", "--quiet", "--cached", "dvc.lock")
    copy.git("commit", "--quiet", "--message", "No lock")
    repair.LOCK.write_bytes(b"")
    assert "this begins anew" in repair.repair_lock()[0]
    assert ran(copy.run("tools/repro")) == []
    assert repair.LOCK.read_bytes() == whole


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


def test_only_a_living_dvc_holds_what_it_uses(copy, monkeypatch):
    """Not one that nobody has waited for, nor a program that has its number now."""
    monkeypatch.chdir(copy.path)

    def in_use(process):
        """Note, as DVC does, that ``process`` writes a figure."""
        figure = {str(copy.path / "plots/samples.png"): {"pid": process.pid, "cmd": "dvc"}}
        repair.IN_USE.write_text(json.dumps({"write": figure}))

    copy.set_params({"plot": {"seed": 1}})
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen([*sleep, "dvc", "repro"]) as process:
        in_use(process)
        assert "is busy, it is being blocked by" in copy.run("tools/repro", ok=False)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert ran(copy.run("tools/repro")) == ["plot"]
    with subprocess.Popen(sleep) as process:
        in_use(process)
        repair.forget_the_dead()
        process.kill()
    assert not repair.IN_USE.exists()
