"""How a script ends: one line, the shell's status, no traceback."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from defaults import TINY
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.environment import is_in_torchrun
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.script import Stopped
from sandbox import create, heed_signals

STAGE = """
from mnist_lstm.plumbing import script
script.end_in_one_line()
import sys, time
from pathlib import Path
from mnist_lstm.plumbing.files import replacing_folder

def main():
    with replacing_folder(Path(sys.argv[1])) as folder:
        (folder / "half").touch()
        print("at work", flush=True)
        time.sleep(60)

script.run(main)
"""


def stage(folder, before=heed_signals):
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


@pytest.mark.parametrize(
    ("signum", "line"),
    [
        (signal.SIGINT, "interrupted\n"),
        (signal.SIGTERM, "terminated\n"),
        (signal.SIGHUP, "hung up\n"),
    ],
)
def test_a_signal_ends_in_one_line_and_leaves_nothing_half_written(tmp_path, signum, line):
    with stage(tmp_path / "raw") as process:
        process.stdout.readline()
        process.send_signal(signum)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signum, line)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(tmp_path):
    """As under `nohup`."""

    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with stage(tmp_path / "raw", before=ignore) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert errors == "terminated\n"


def wait_until_python_is_ours(pid):
    """Wait until the stage handles SIGTERM; Python itself does not."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():  # no Linux
        time.sleep(1)
        return
    caught = 0
    while not caught & 1 << signal.SIGTERM - 1:
        caught = int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16)


def test_ctrl_c_while_a_stage_starts_is_one_line(tmp_path):
    """Most of its start is importing PyTorch, whose tracebacks fill a screen."""
    project = create(tmp_path / "project", TINY)
    chance = random.Random(0)
    for _ in range(4):
        with project.start("python", "stages/describe.py", PYTHONPATH="src") as process:
            wait_until_python_is_ours(process.pid)
            time.sleep(chance.uniform(0, 1.2))
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        assert (process.returncode, output) == (130, "interrupted\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("x.gz: cut short"), "error: x.gz: cut short"),
        (UserError("a\nerror: b\x1b[31m"), r"error: a\nerror: b\x1b[31m"),
        (UserError("two", "lines"), "error: two\nlines"),
        (
            OSError(28, "No space left", "a"),
            "error: a: No space left; make room, then run this again",
        ),
        (
            OSError(32, "Broken pipe"),
            "error: standard output: Broken pipe; what read it has ended; send it to a "
            "file",
        ),
        (OSError("no number"), "error: no number"),
    ],
)
def test_what_a_person_can_put_right_is_one_line_and_status_1(error, line):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        script.run(main)
    assert caught.value.code == line  # Python prints it and exits with status 1


def test_what_a_signal_ended_says_so_with_the_shells_status(capsys, monkeypatch):
    monkeypatch.setattr(script, "_ignore", lambda: None)  # for the rest of the tests

    def main():
        raise Stopped(signal.SIGINT, "the next run resumes from epoch 2, step 3")

    with pytest.raises(SystemExit) as caught:
        script.run(main)
    assert caught.value.code == 130
    assert capsys.readouterr().err == (
        "interrupted; the next run resumes from epoch 2, step 3\n"
    )


def test_a_bug_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        script.run(main)


CHATTY = """
from mnist_lstm.plumbing import script
script.end_in_one_line()
script.run(lambda: [print(i, "\u0416") for i in range(2000)])
"""


def chatty(redirected, **env):
    command = ["bash", "-c", f'"{sys.executable}" -c "$CODE" {redirected}']
    return subprocess.run(
        command, env=os.environ | env | {"CODE": CHATTY}, capture_output=True
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_standard_output_is_one_line():
    done = chatty(">/dev/full")
    assert (done.returncode, done.stderr.decode()) == (
        1,
        "error: standard output: No space left on device; make room, then run this again\n",
    )


def test_a_standard_output_that_no_one_reads_is_one_line():
    done = chatty("| true; exit ${PIPESTATUS[0]}")
    assert done.returncode in (0, 1)  # what a pipe takes may be all
    if done.returncode:
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith("error: standard output: Broken pipe; ")


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_output_stops_no_one(closed):
    done = chatty(closed)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


CAREFUL = """
import sys
from pathlib import Path
from mnist_lstm.plumbing import script
script.run(Path(sys.argv[1]).touch, prints=True)
"""


def careful(tmp_path, closed):
    command = f'"{sys.executable}" -c "$CODE" "$FILE" {closed}'
    env = os.environ | {"CODE": CAREFUL, "FILE": str(tmp_path / "file")}
    return subprocess.run(["bash", "-c", command], env=env, capture_output=True)


@pytest.mark.parametrize("closed", [">&-", "<&- >&-"])
def test_what_is_to_print_its_product_does_not_start_where_no_one_reads_it(
    tmp_path, closed
):
    done = careful(tmp_path, closed)
    line = b"error: standard output is closed; send it to a file or a terminal\n"
    assert (done.returncode, done.stderr) == (1, line)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    "program",
    ["tools/cuda_check.py --rehearse", "-m mnist_lstm.predict x.png"],
    ids=["check", "predict"],  # it does not speak of CUDA: that is rehearsed bare
)
def test_programs_that_print_what_they_find_refuse_a_closed_output(program):
    env = os.environ | {"PYTHONPATH": "src"}
    command = ["bash", "-c", f'"{sys.executable}" {program} >&-']
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output is closed; ")


def test_letters_that_a_terminal_does_not_know_stop_no_one():
    done = chatty("", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0] == rb"0 \u0416"


ORPHAN = """
import os, subprocess, sys
command = [sys.executable, "-c", sys.argv[1]]
stage = subprocess.Popen(command, env=os.environ | {"DVC_STAGE": "x"})
if sys.argv[2] == "dies":
    os._exit(9)
sys.exit(stage.wait())
"""


@pytest.mark.parametrize("dvc", ["dies", "lives"])
def test_a_stage_whose_dvc_is_gone_before_it_has_started_does_nothing(tmp_path, dvc):
    """Nobody would record what it makes, and the next `dvc repro` would meet it."""
    code = (
        "import sys; sys.path.insert(0, 'src')\n"
        "from mnist_lstm.plumbing import script\n"
        f"script.run(lambda: open({str(tmp_path / 'made')!r}, 'w').close())"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, code, dvc],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    output, _ = run.communicate(timeout=60)  # until the stage, too, has closed it
    assert (tmp_path / "made").exists() == (dvc == "lives")
    gone = "terminated; DVC, which started this, is gone\n"
    assert output == (gone if dvc == "dies" else "")


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "a-job",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "RANK": "1",
}


HALVES = [
    *({name: ""} for name in TORCHRUN),
    *({"RANK": wrong} for wrong in ("2", "x", "1" * 5000)),
]


@pytest.mark.parametrize("change", HALVES)
def test_half_of_what_torchrun_sets_is_no_sign_of_it(monkeypatch, change):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert is_in_torchrun()
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    assert not is_in_torchrun()


def test_a_single_variable_of_torchruns_is_without_effect():
    code = (
        "from defaults import train_params\n"
        "from mnist_lstm.training.distributed import join_workers\n"
        "print(join_workers(train_params()))"
    )
    env = os.environ | {"TORCHELASTIC_RUN_ID": "x", "PYTHONPATH": "src:tests"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
    assert done.stdout == b"Workers(rank=0, count=1)\n", done.stderr


@pytest.mark.parametrize(("torchrun", "speaks"), [(False, True), (True, False)])
def test_only_a_worker_of_torchruns_is_silent(tmp_path, torchrun, speaks):
    """The environment of a cluster's job may hold RANK, too."""
    env = os.environ | {"RANK": "1", "PYTHONPATH": str(Path("src").absolute())}
    env |= TORCHRUN if torchrun else {}
    describe = [sys.executable, Path("stages/describe.py").absolute()]
    done = subprocess.run(describe, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: ") == speaks


@pytest.fixture
def params(tmp_path, monkeypatch):
    """A folder with params.yaml in it."""
    text = Path("params.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(text)


@pytest.mark.parametrize("on", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_what_memory_cannot_hold_is_one_line_that_says_what_to_lower(params, on):
    with pytest.raises(SystemExit) as caught:
        script.run(
            lambda: torch.empty(2**60, device=on),
            lower=("train.batch_size", "model.hdim", "model.n_layer"),
        )
    assert re.fullmatch(
        r"error: (CUDA is )?out of memory; lower train.batch_size \(\d+\), "
        r"model.hdim \(\d+\) or model.n_layer \(\d+\) in params.yaml",
        caught.value.code,
    )
    assert ("CUDA" in caught.value.code) == (on == "cuda")


def test_what_does_not_fit_is_one_line_where_params_were_spoilt_meanwhile(params):
    Path("params.yaml").write_text("<<<<<<< HEAD\n")
    with pytest.raises(SystemExit) as caught:
        script.run(lambda: torch.empty(2**60), lower=("train.batch_size",))
    assert caught.value.code == "error: out of memory"


@pytest.mark.parametrize("library", ["CUBLAS", "CUDNN"])
def test_cudas_libraries_without_memory_are_one_line_too(library):
    def main():
        raise RuntimeError(f"error in a library: {library}_STATUS_ALLOC_FAILED")

    with pytest.raises(SystemExit) as caught:
        script.run(main)
    assert caught.value.code == "error: CUDA is out of memory"


def test_python_without_memory_is_one_line_too():
    def main():
        raise MemoryError

    with pytest.raises(SystemExit) as caught:
        script.run(main)
    assert caught.value.code == "error: out of memory"


def test_another_error_of_pytorch_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shape"):
        script.run(lambda: torch.zeros(2).reshape(3))
