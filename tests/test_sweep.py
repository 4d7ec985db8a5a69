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
from sweeping import SWEEP, add_remotes, create_short, refs, table, wait_for


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
    shown = [e["params"]["params.yaml"]["data"]["model"] for e in table(project).values()]
    assert {model["hdim"] for model in shown} == {8, 9, 10, 11}
    project.dvc("exp", "apply", best.split()[-1])
    assert project.text("models/model.txt") == "model of 11"


@pytest.fixture
def waiting(project, ray, probe):
    """A sweep, one of whose two trials waits: its driver, its command, the stage."""
    for name in ("waits", "go"):
        (probe / name).unlink(missing_ok=True)
    command = (*SWEEP, "model.hdim=31,77", "--address", "auto")
    with project.start(*command, own_group=True, **ray) as driver:
        wait_for(lambda: (probe / "waits").exists() and "sweep-" in refs(project))
        yield driver, command, psutil.Process(int((probe / "waits").read_text()))


@pytest.mark.long
def test_a_trial_whose_actor_is_killed_runs_again(project, waiting, probe):
    driver, _, stage = waiting
    (actor,) = [p for p in stage.parents() if p.name().startswith("ray::")]
    actor.kill()
    psutil.wait_procs([stage], timeout=30)
    assert not stage.is_running()  # it does not outlive the actor
    (probe / "go").touch()
    output = driver.communicate(timeout=120)[0]
    assert driver.returncode == 0, output
    assert re.search(r"^sweep-\w+: its process died, it runs again$", output, re.M)
    assert len(table(project)) == 2


@pytest.mark.long
def test_ctrl_c_keeps_what_is_finished_and_the_next_call_goes_on(
    project, waiting, ray, probe
):
    driver, command, stage = waiting
    before = (probe / "trials").read_text().count("31 ")
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    output = driver.communicate(timeout=120)[0]
    assert driver.returncode == 130, output
    assert output.splitlines()[-1] == "interrupted; the same command goes on"
    wait_for(lambda: not stage.is_running(), 30)
    (probe / "go").touch()
    project.run(*command, **ray)
    assert len(table(project)) == 2
    assert (probe / "trials").read_text().count("31 ") == before


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
    ranges = (
        "model.hdim: {low: 100, high: 900}\ntrain.lr: {low: 1e-4, high: 1e-2, log: true}"
    )
    (project.path / "ranges.yaml").write_text(ranges)
    search = (*SWEEP, "train.seed=1", "--ranges", "ranges.yaml", "--address", "auto")
    project.run(*search, "--search", "2", **ray)
    first, removed = table(project)
    project.dvc("exp", "remove", removed)
    output = project.run(*search, "--search", "2", **ray)
    found = table(project)
    assert first in found
    assert len(found) == 2
    scores = [e["metrics"]["metrics/evaluate.json"]["data"] for e in found.values()]
    best = max(score["valid"]["accuracy"] for score in scores)
    assert f"best valid.accuracy: {best:.4f}" in output


# What is refused, before anything runs.

OVERRIDES = {
    "model.hdin=8": r"-S: .*model\.hdin",
    "model.hdim=0,8": r"-S: model.hdim must be .*, got 0",
    "model.hdim=a": r"-S: model.hdim must be ",
    "model.hdim": r"-S: .*model.hdim",
    "model.hdim=[8": r"-S: .*\[8",
    "model.hdim=glob(*)": r"-S: .*glob",
    "model.hdim=${nope}": r"-S: .*nope",
    "model.hdim=???": r"-S: .*hdim",
    "prepare.valid_size=0": r"valid.accuracy judges .*: add -S prepare.valid_size=5000",
}
RANGES = {
    "": "expected ",
    "[1]": "expected ",
    "a: [": "not YAML",
    "model.hdim: 8": "expected ",
    "model.hdim: {low: 8}": "expected ",
    "model.hdim: {low: 9, high: 8}": "9.*expected ",
    "model.hdim: {low: a, high: b}": "'a'; expected ",
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


def test_ranges_that_are_none_are_one_line(sweep, plan, project):
    for text, told in RANGES.items():
        Path("ranges.yaml").write_text(text)
        with pytest.raises(UserError) as refused:
            sweep.Search(plan, plan.grid([]), Path("ranges.yaml"))
        assert re.fullmatch(f"(-S|ranges.yaml): .*{told}.*", str(refused.value)), text


def test_what_is_not_committed_is_refused(sweep, project):
    Path("new.py").touch()  # but not what Git does not track
    assert sweep.Project.here(None).url == str(project.path)
    Path("probe.py").write_text("")
    with pytest.raises(UserError, match=r"^uncommitted: probe\.py; commit it first$"):
        sweep.Project.here(None)


def test_a_trial_has_one_name_on_every_machine_and_runs_once(sweep, plan):
    (one,) = plan.grid(["model.hdim=8,8", "train.lr=1e-3"])
    (other,) = plan.grid(["train.lr=0.001", "model.hdim=8"])
    assert one["name"] == other["name"]
    names = {trial["name"] for trial in plan.grid(["train.seed=range(0,3)"])}
    assert len(names | {one["name"]}) == 4
    later = sweep.Project("a later commit", plan.params, "", "")
    assert later.trial(["model.hdim=8"])["name"] != plan.trial(["model.hdim=8"])["name"]


@pytest.mark.long
def test_a_result_that_another_sweep_pushed_first_stands(sweep, project, monkeypatch):
    """Both look whether it is there, both run it, and one is the second to push."""
    here = sweep.Project.here(None)
    (trial,) = here.grid(["model.hdim=8", "prepare.valid_size=9"])
    monkeypatch.setenv("PROBE", str(project.path.parent))
    assert sweep.run_trial(here, {"trial": trial}) == {"valid.accuracy": 0.008}
    first, said_by = refs(project), sweep.said_by
    seen = []

    def look_too_early(*command, **settings):
        if "ls-remote" in command and not seen:
            return seen.append(command)
        return said_by(*command, **settings)

    monkeypatch.setattr(sweep, "said_by", look_too_early)
    assert sweep.run_trial(here, {"trial": trial}) == {"valid.accuracy": 0.008}
    assert refs(project) == first


def test_an_experiment_that_did_not_come_is_named(sweep, project):
    with pytest.raises(UserError, match=r"^not in this clone: sweep-lost; "):
        sweep.Project.here(None).pull({"sweep-lost": 0.9})


def test_without_ray_it_says_how_to_install_it(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit, match=r"^error: ray: `make scale` installs"):
        runpy.run_path(sweep.__file__)
