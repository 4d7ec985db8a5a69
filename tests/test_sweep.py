"""`tools/sweep.py`: real Ray, real DVC, GPUs that are none, and things that die."""

import importlib
import os
import re
import runpy
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mnist_lstm.plumbing.errors import UserError
from sandbox import Sandbox
from sweeping import SWEEP, add_remotes, create_short, table, wait_for


@pytest.fixture(scope="module")
def sweep():
    """The module; not imported where tests are only collected, for it takes seconds."""
    for extra in ("ray.tune", "optuna"):
        pytest.importorskip(extra, reason="run make scale", exc_type=ImportError)
    return importlib.import_module("sweep")


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The project with a pipeline of seconds; only to be read."""
    return create_short(tmp_path_factory.mktemp("short") / "project")


@pytest.fixture
def project(short, tmp_path, monkeypatch):
    copy = short.copy(tmp_path / "project")
    monkeypatch.chdir(copy.path)
    return copy


@pytest.fixture(scope="module")
def ray(sweep, probe):
    """A Ray node with two GPUs that are none, for all tests; its environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets: a short path
    env = token | {"PROBE": str(probe), "RAY_process_group_cleanup_enabled": "1"}
    env["TMPDIR"] = str(folder)  # where a host keeps its DVC cache, of earlier runs too
    node = Sandbox(folder).start(
        *("ray", "start", "--head", "--block", f"--port={port}", "--num-gpus=2"),
        *("--node-ip-address=127.0.0.1", "--include-dashboard=false", "--num-cpus=2"),
        f"--temp-dir={folder}",
        own_group=True,
        **env,
    )
    said = iter(node.stdout.readline, "")
    assert any("Ray runtime started" in line for line in said)
    yield env | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    for process in [*psutil.Process(node.pid).children(recursive=True), node]:
        with suppress(psutil.NoSuchProcess):  # one ends as another is killed
            process.kill()
    node.stdout.close()
    node.wait()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_each_trial_sees_a_gpu_and_one_that_fails_is_one_line(short, ray, probe, tmp_path):
    """Five trials, one of which fails, on two GPUs that are none."""
    project = short.copy(tmp_path / "project")
    values = "model.hdim=8,9,10,13,11,8"
    output = project.run(*SWEEP, values, "--address", "auto", ok=False, **ray)
    seen = dict(line.split() for line in (probe / "trials").read_text().splitlines())
    assert {seen[hdim] for hdim in ("8", "9", "10", "11", "13")} == {"0", "1"}
    *lines, done, best, last = output.splitlines()
    assert [line.partition("]")[0] for line in lines] == [f"[{n}/5" for n in range(1, 6)]
    (failed,) = [line for line in lines if "failed" in line]
    log = re.search(r"model.hdim=13\): failed: error: 13 is unlucky; see (.*)", failed)[1]
    assert "error: 13 is unlucky" in (project.path / log).read_text()
    assert done == "4 experiments are in `dvc exp show`"
    assert best.startswith("best valid.accuracy: 0.0110; dvc exp apply sweep-")
    assert last == "error: 1 of 5 trials failed"
    assert len(table(project)) == 4
    project.dvc("exp", "apply", best.split()[-1])
    assert project.text("models/model.txt") == "model of 11"


def waiting(probe):
    """Wait for the trial that waits; return its stage."""
    wait_for((probe / "waits").exists)
    stage = psutil.Process(int((probe / "waits").read_text()))
    (probe / "waits").unlink()
    return stage


@pytest.mark.long
def test_a_killed_actors_trial_runs_again_and_after_ctrl_c_the_next_call_goes_on(
    project, ray, probe
):
    command = (*SWEEP, "model.hdim=31,77", "--address", "auto")
    with project.start(*command, own_group=True, **ray) as driver:
        stage = waiting(probe)
        wait_for(lambda: "sweep-" in project.git("for-each-ref", "refs/exps"))
        (actor,) = [p for p in stage.parents() if p.name().startswith("ray::")]
        actor.kill()
        psutil.wait_procs([stage], timeout=30)
        assert not stage.is_running()  # it does not outlive the actor
        stage = waiting(probe)
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
        output = driver.communicate(timeout=120)[0]
    assert driver.returncode == 130, output
    assert output.splitlines()[-1] == "interrupted; the same command goes on"
    wait_for(lambda: not stage.is_running(), 30)
    (probe / "go").touch()
    project.run(*command, **ray)
    assert len(table(project)) == 2
    assert (probe / "trials").read_text().count("31 ") == 1


@pytest.mark.long
def test_results_pass_through_remotes_and_another_clone_runs_nothing_again(
    project, ray, probe, tmp_path
):
    remote = add_remotes(project, tmp_path)
    grid = (*SWEEP, "model.hdim=21,22", "--address", "auto")
    assert project.run(*grid, ok=False, **ray) == (
        "error: origin does not have this commit: git push\n"
    )
    project.git("push", "--quiet", "--set-upstream", "origin", "main")
    other = project.clone(tmp_path / "other")
    other.git("remote", "set-url", "origin", remote)
    other.git("fetch", "--quiet")
    project.run(*grid, **ray)
    output = other.run(*grid, **ray)
    assert table(other).keys() == table(project).keys()
    assert [(probe / "trials").read_text().count(f"{n} ") for n in (21, 22)] == [1, 1]
    other.dvc("exp", "apply", re.search(r"dvc exp apply (\S+)", output)[1])
    assert other.text("models/model.txt") == "model of 22"


@pytest.mark.long
def test_a_search_goes_on_where_another_ended(project, ray):
    ranges = "model.hdim: {low: 100, high: 900}\ntrain.lr: {low: 1e-4, high: 1e-2}"
    (project.path / "ranges.yaml").write_text(ranges)
    search = (*SWEEP, "train.seed=1", "--ranges", "ranges.yaml", "--address", "auto")
    for n in (2, 1):
        output = project.run(*search, "--search", str(n), **ray)
    assert f"{n} experiments are in" in output
    found = table(project).values()
    seeds = {e["params"]["params.yaml"]["data"]["train"]["seed"] for e in found}
    assert (len(found), seeds) == (3, {1})
    journal = (project.path / ".dvc/tmp/sweep/optuna.log").read_text()
    assert journal.count('"values":[0.') == 3  # what the next proposals follow


# What is refused, before anything runs.

OVERRIDES = {
    "model.hdin=8": r"-S: .*model\.hdin",
    "model.hdim=0,8": r"-S: model.hdim must be .*, got 0",
    "model.hdim=[8": r"-S: .*\[8",
    "model.hdim=glob(*)": r"-S: .*glob",
    "model.hdim=${nope}": r"-S: .*nope",
    "prepare.valid_size=0": r"valid.accuracy judges .*: add -S prepare.valid_size=5000",
}
RANGES = {
    "": "expected ",
    "a: [": "not YAML",
    "model.hdim: 8": "expected ",
    "model.hdim: {low: 9, high: 8}": "9.*expected ",
    "model.hdim: {low: 0, high: 8}": "model.hdim must be .*, got 0",
    "model.hdin: {low: 1, high: 8}": "model.hdin",
    "model.init: {choices: [a]}": "model.init must be .*'a'",
}


@pytest.fixture(scope="module")
def plan(sweep, short):
    """The plan of a sweep with a validation split."""
    text = short.text("params.yaml").replace("valid_size: 0", "valid_size: 9")
    return sweep.Project("a commit", text, "", "")


@pytest.mark.parametrize("words", OVERRIDES)
def test_an_override_that_does_not_fit_is_one_line(words, plan):
    with pytest.raises(UserError) as refused:
        plan.grid([words])
    assert re.fullmatch(f"{OVERRIDES[words]}.*", str(refused.value))


@pytest.mark.parametrize("text", RANGES)
def test_ranges_that_are_none_are_one_line(text, sweep, plan, tmp_path):
    (path := tmp_path / "ranges.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        sweep.make_search(plan, [], path)
    assert re.fullmatch(f"(-S|.*ranges.yaml): .*{RANGES[text]}.*", str(refused.value))


def test_what_is_not_committed_is_refused(sweep, project):
    Path("new.py").touch()  # but not what Git does not track
    assert sweep.Project.here(None).url == str(project.path)
    Path("probe.py").write_text("")
    with pytest.raises(UserError, match=r"^uncommitted: probe\.py; commit it first$"):
        sweep.Project.here(None)


def test_a_trial_has_one_name_on_every_machine_and_runs_once(sweep, plan):
    (one,) = plan.grid(["model.hdim=8,8", "train.lr=1e-3"])
    assert plan.name(one) == plan.name(["train.lr=0.001", "model.hdim=8"])
    names = {plan.name(trial) for trial in plan.grid(["train.seed=range(0,3)"])}
    assert len(names | {plan.name(one)}) == 4
    later = sweep.Project("a later commit", plan.params, "", "")
    assert later.name(one) != plan.name(one)


def test_an_experiment_that_did_not_come_is_named(sweep, project):
    with pytest.raises(UserError, match=r"^not in this clone: sweep-lost; "):
        sweep.Project.here(None).pull({"sweep-lost": 0.9})


def test_without_ray_it_says_how_to_install_it(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit, match=r"^error: ray: `make scale` installs"):
        runpy.run_path(sweep.__file__)
