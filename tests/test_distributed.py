"""Training on several processes: the bytes of one."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from defaults import ALL_ON, DIGITS, augment_params, model_params, train_params
from mnist_lstm.data.splits import Split
from mnist_lstm.device import lacks_for_bf16, make_deterministic
from mnist_lstm.evaluation import compute_logits
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.training import distributed
from mnist_lstm.training.distributed import Workers, join_workers
from mnist_lstm.training.launcher import count_workers
from mnist_lstm.training.loop import Run, fit
from sharded import TORCHRUN, assert_trained_as, project, train, whole, workers_of
from test_resume import results


@pytest.mark.parametrize(
    ("name", "precision", "optimizer", "counts"),
    [
        ("lstm", "bf16", "adamw", (1, 2, 4)),
        ("gru", "bf16", "muon", (1, 2)),
        ("transformer", "fp32", "muon", (1, 2)),
    ],
)
@pytest.mark.long
def test_any_number_of_workers_writes_the_same_bytes(
    project, name, precision, optimizer, counts
):
    """With all that draws or keeps something on."""
    if precision == "bf16" and lacks_for_bf16(torch.device("cpu")):
        precision = "fp32"
    on = {"precision": precision, "optimizer": optimizer, "epochs": 2}
    project.set_params(ALL_ON)
    project.set_params({"train": on, "model": {"name": name}})
    found = []
    for workers in counts:
        project.run("rm", "-rf", "checkpoints", "models", "plots/history.csv")
        output = train(project, workers)
        assert output.count("epoch   2 ") == 1  # the first worker speaks for all
        found.append(results(project))
    assert all(bytes_ == found[0] for bytes_ in found[1:])


def test_a_step_of_shards_is_about_the_step_of_the_batch(split):
    """The sum of parts differs in rounding only, and nothing keeps the gradients."""
    ends = []
    for shards in (1, 3):
        make_deterministic(0)
        model = LSTMClassifier(model_params(hdim=16, n_layer=1))
        params = train_params(epochs=2, batch_size=16, shards=shards, precision="fp32")
        run = Run(model, params, augment_params())
        for _ in fit(run, split, split):
            assert all(loss.untyped_storage().nbytes() == 4 for loss in run.losses)
        ends.append((run.history[-1]["train_loss"], *run.model.parameters()))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-5)
    for ours, theirs in zip(ends[0][1:], ends[1][1:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("n", "count"), [(1, 3), (1700, 3), (1700, 1)])
def test_workers_share_the_batches_of_an_evaluation(monkeypatch, n, count):
    """Each computes its own; put together they are those of one."""
    model = LSTMClassifier(model_params(hdim=4, n_layer=1))
    images = torch.randint(0, 255, (n, 28, 28), dtype=torch.uint8)
    data = Split(images, torch.zeros(n, dtype=torch.int64), DIGITS)
    parts = []
    monkeypatch.setattr(Workers, "gather", lambda _, part: parts.append(part) or part)
    for rank in range(count):
        list(Workers(rank, count).logits(model, data, 0))
    rounds = len(parts) // count
    together = torch.cat([part for i in range(rounds) for part in parts[i::rounds]])
    assert torch.equal(together[:n], compute_logits(model, data))


@pytest.mark.parametrize(
    ("count", "shards", "says"),
    [
        ("3", 4, "params.yaml: train.shards must be a multiple of the 3 workers, got 4"),
        ("2", 96, r"train.shards must be at most train.batch_size \(64\), got 96"),
        ("2", 4, "TRAIN_TIMEOUT must be a number from 1 to 604800, got 'soon'"),
    ],
)
def test_what_workers_cannot_do_is_refused_before_they_meet(
    monkeypatch, count, shards, says
):
    monkeypatch.setattr(distributed, "IS_WORKER", True)
    for name, value in {"WORLD_SIZE": count, "RANK": "0", "TRAIN_TIMEOUT": "soon"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=says):
        join_workers(train_params(shards=shards, batch_size=64))


@pytest.mark.parametrize("value", ["two", "0", "1.5", "\u00b2"])
def test_a_variable_that_holds_no_such_number_is_named_in_one_line(monkeypatch, value):
    monkeypatch.setenv("TRAIN_WORKERS", value)
    with pytest.raises(SystemExit) as refused:
        count_workers()
    start = "error: TRAIN_WORKERS must be a number from 1 to 1024, got '"
    assert str(refused.value).startswith(start)


def test_what_cannot_work_is_one_line_of_the_first_worker(project):
    project.set_params({"train": {"lr": -1.0}})
    output = train(project, 2, ok=False)
    (line,) = [line for line in output.splitlines() if not line.startswith("exit status")]
    assert line == "error: params.yaml: train.lr must be greater than 0, got -1.0"
    assert not (project.path / "models").exists()


NOWHERE = ("unshare", "--map-root-user", "--uts", "--net", "sh", "-c")
AWAY = 'hostname nowhere-to-be-found && ip link set lo up && exec "$0" "$@"'


@pytest.mark.long
def test_workers_need_no_name_of_their_host_and_dvc_does_not_know_of_them(project, whole):
    """As in a container, or in a laptop without a network."""
    away = [*NOWHERE, AWAY]
    if subprocess.run([*away, "true"], capture_output=True).returncode:
        away = []  # no namespaces here
    output = project.run(*away, "dvc", "repro", "train", TRAIN_WORKERS="2")
    assert "1 threads" in output
    assert "Warning" not in output
    assert results(project) == whole  # dvc.lock, too
    assert "Stage 'train' didn't change" in project.dvc("repro", "train")


FAILS = """
import os, sys, time
from mnist_lstm.training.launcher import count_workers, launch
if count := count_workers():
    launch(count)
if os.environ["RANK"] == "0":
    time.sleep(1)
    sys.exit("error: the first says why")
sys.exit(1)
"""


def test_the_first_worker_says_for_all_why_they_fail_however_long_it_takes(tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    env = os.environ | {"PYTHONPATH": "src", "TRAIN_WORKERS": "2"}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: the first says why\n")


@pytest.mark.long
def test_a_wait_for_another_worker_hears_a_signal(project):
    """In C++, where none of Python's handlers runs."""
    env = {"PYTHONPATH": "src", "TRAIN_WORKERS": "2"}
    with project.start("python", "stages/train.py", own_group=True, **env) as process:
        waits, stops = workers_of(process)
        stops.suspend()
        store = Path(waits.environ()["TRAIN_STORE"])
        while not store.exists():
            assert process.poll() is None
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert time.monotonic() - start < 20
    assert (process.returncode, output) == (130, "interrupted\n")


LEAVES = """
import torch
from defaults import train_params
from mnist_lstm.training.distributed import join_workers
workers = join_workers(train_params(device="cpu", shards=4))
for _ in range(60):
    workers.gather(torch.ones(1, 1000))
"""


@pytest.mark.long
def test_workers_that_have_nothing_left_to_do_end_in_peace(tmp_path):
    """Without leaving the process group, two in three of these runs end by SIGABRT."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    env = os.environ | {"PYTHONPATH": "src:tests"}
    command = (*TORCHRUN, "--nproc-per-node=4", script)
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_two_hosts_write_the_bytes_of_one(project, whole, tmp_path):
    """Folders of this machine, on which torchrun is started by hand."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other = project.copy(tmp_path / "other host")
    started = [
        host.start(
            *(*TORCHRUN, "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"),
            *("--rdzv-id=a-job", f"--rdzv-endpoint=127.0.0.1:{port}"),
            f"--rdzv-conf=is_host={str(host is project).lower()},join_timeout=60",
            "stages/train.py",
            PYTHONPATH="src",
            GLOO_SOCKET_IFNAME="lo",
        )
        for host in (project, other)
    ]
    for process in started:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert_trained_as(project, whole)
    assert not (other.path / "models").exists()  # the first worker writes


SAME = {"params": "p", "data": "d", "code": "c", "machine": "m"}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            SAME | {"code": "x", "machine": "x"},
            "worker 1 on b has other code than worker 0",
        ),
        (None, "worker 1 on b: train.safetensors: no such file"),
        (SAME, ""),
    ],
)
def test_workers_train_where_all_are_ready_and_tell_the_same(monkeypatch, told, says):
    def gather(_, everyone, mine):
        wrong = () if told else ("train.safetensors: no such file",)
        everyone[:] = [mine, (wrong, told or {}, "b")]

    monkeypatch.setattr(distributed, "_together", gather)
    with pytest.raises(UserError, match=says) if says else nullcontext():
        assert Workers(0, 2).agree(lambda: "a run", lambda _: SAME) == "a run"
