"""`tools/sweep.py`: real Ray, real DVC, GPUs that are none, and things that die."""

import json
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="the extra `scale` is not installed: make scale")
pytest.importorskip("optuna", reason="the extra `scale` is not installed: make scale")
sys.path.insert(0, "tools")

from defaults import TINY
from mnist_lstm.plumbing.errors import UserError
from sandbox import create
from sweeping import TOKEN, cluster, create_project, names, processes, wait_for
from sweeps.actor import Worker
from sweeps.plan import Grid, Search, Version
from sweeps.record import Record
from sweeps.remote import Code, Remote

SWEEP = ("python", "tools/sweep.py")
VALID = ("-S", "prepare.valid_size=100")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The project with a pipeline of seconds; only to be read."""
    return create_project(tmp_path_factory.mktemp("short") / "project")


@pytest.fixture
def project(short, tmp_path):
    return short.copy(tmp_path / "project")


@pytest.fixture
def probe(tmp_path):
    folder = tmp_path / "probe"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Two Ray nodes: address, their temp folders, the probe's folder."""
    probe = tmp_path_factory.mktemp("hosts")
    with cluster(probe, {"cpus": 2, "gpus": 2}, {"cpus": 1, "gpus": 1}) as (address, temp):
        yield address, temp, probe


@pytest.fixture(scope="module")
def swept(short, hosts, tmp_path_factory):
    """A sweep of six trials over two hosts and three fake GPUs; one of them fails."""
    project = short.copy(tmp_path_factory.mktemp("swept") / "project")
    address, _, probe = hosts
    project.output = project.run(
        *(*SWEEP, "-S", "model.hdim=8,9,10,11,12,13,8", *VALID, "--address", "auto"),
        RAY_ADDRESS=address,
        ok=False,
        PROBE=str(probe),
        **TOKEN,
    )
    logs = (project.path / ".dvc/tmp/sweep/logs").iterdir()
    project.logs = {log.stem: log.read_text() for log in logs}
    return project


def last_line(project, *words):
    output = project.run(*SWEEP, *words, ok=False, **TOKEN)
    return output.splitlines()[-1]


def table(project):
    """Return the experiments of `dvc exp show` by their names."""
    shown = json.loads(project.dvc("exp", "show", "--json"))
    found = [e for rev in shown for e in rev["experiments"] or []]
    return {e["revs"][0]["name"]: e["revs"][0]["data"] for e in found}


def test_each_experiment_sees_a_gpu_of_its_own(swept, hosts):
    _, (first, second), _ = hosts
    seen = re.findall(r"devices (.*) on (.*)", "".join(swept.logs.values()))
    assert set(seen) == {("0", str(first)), ("1", str(first)), ("0", str(second))}


def test_a_failed_trial_is_one_line_and_the_others_come_back(swept):
    (line,) = [line for line in swept.output.splitlines() if line.startswith("failed")]
    pattern = r"failed: (sweep-\w+) \(model.hdim=13 .*\): error: 13 is unlucky; see (.*)"
    name, log = re.fullmatch(pattern, line).groups()
    assert "error: 13 is unlucky" in (swept.path / log).read_text()
    assert swept.output.splitlines()[-1] == "error: 1 of 6 trials failed"
    shown = table(swept)
    sizes = {e["params"]["params.yaml"]["data"]["model"]["hdim"] for e in shown.values()}
    assert sizes == {8, 9, 10, 11, 12}
    assert name not in shown
    assert "best valid.accuracy: 0.0120" in swept.output


def test_the_same_trial_twice_runs_once(swept):
    assert "1 of 7 trials repeat another, and run once" in swept.output
    assert len(swept.logs) == 6


def test_data_are_fetched_once_a_host(swept, hosts):
    _, folders, probe = hosts
    fetched = (probe / "downloads").read_text().split()
    assert sorted(fetched) == sorted(map(str, folders))


def test_what_came_back_can_be_applied_with_its_model(swept, tmp_path):
    copy = swept.copy(tmp_path / "copy")
    name = re.search(
        r"dvc exp apply (\S+)", copy.output if hasattr(copy, "output") else swept.output
    )[1]
    copy.dvc("exp", "apply", name)
    assert copy.text("models/model.txt").startswith("12 of ")


@pytest.mark.long
def test_a_trial_whose_actor_is_killed_runs_again(project, hosts):
    address, _, probe = hosts
    command = (*SWEEP, "-S", "model.hdim=77", "--address", address)
    with project.start(*command, PROBE=str(probe), **TOKEN) as driver:
        wait_for((probe / "waits").exists)
        stage = psutil.Process(int((probe / "waits").read_text()))
        (actor,) = [p for p in stage.parents() if p.name().startswith("ray::")]
        (probe / "go").touch()
        actor.kill()
        psutil.wait_procs([stage], timeout=30)
        assert not stage.is_running()  # it does not outlive the actor
        output = driver.communicate(timeout=120)[0]
    (probe / "go").unlink()
    assert driver.returncode == 0, output
    assert "(model.hdim=77): its actor died, it runs again" in output
    assert len(names(project)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_ends_early_leaves_nothing_behind_and_goes_on(signum, project, probe):
    """With Ray of its own, on one CPU: the first trial is done, the second at work."""
    command = (*SWEEP, "-S", "model.hdim=8,77", "--cpus-each", str(psutil.cpu_count()))
    with project.start(*command, PROBE=str(probe), **TOKEN) as driver:
        wait_for((probe / "waits").exists)
        driver.send_signal(signum)
        output = driver.communicate(timeout=120)[0]
    wait_for(lambda: not processes(str(probe)), 30)
    if signum == signal.SIGINT:
        assert driver.returncode == 130, output
        assert output.splitlines()[-1] == "interrupted; the same command goes on"
        assert len(names(project)) == 1
    (probe / "go").touch()
    output = project.run(*command, PROBE=str(probe), **TOKEN)
    assert re.search(r"\(model.hdim=8\): already there", output)
    assert len(names(project)) == 2
    assert len((probe / "downloads").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_search_goes_on_where_another_ended(project, hosts):
    address, _, probe = hosts
    ranges = project.path / "runs/ranges.yaml"
    ranges.write_text(
        "model.hdim: {low: 100, high: 900}\ntrain.lr: {low: 1e-4, high: 1e-2, log: true}\n"
    )
    project.commit("Ranges")
    search = (*SWEEP, *VALID, "--address", address, "--search")
    first = project.run(*search, "3", PROBE=str(probe), **TOKEN)
    assert len(names(project)) == 3
    best = max(
        e["metrics"]["metrics/evaluate.json"]["data"]["valid"]["accuracy"]
        for e in table(project).values()
    )
    assert f"best valid.accuracy: {best:.4f}" in first
    second = project.run(*search, "5", PROBE=str(probe), **TOKEN)
    assert second.count("already there") == 3
    assert len(names(project)) == 5


@pytest.mark.slow
def test_a_dirty_tree_is_refused_or_carried(project, hosts):
    address, _, probe = hosts
    command = (*SWEEP, "-S", "model.hdim=8", "--address", address)
    probe_py = project.path / "probe.py"
    probe_py.write_text(probe_py.read_text().replace("hdim / 1000", "hdim / 100"))
    (project.path / "new.py").touch()
    project.git("add", "new.py")
    output = project.run(*command, ok=False, **TOKEN)
    assert output.splitlines()[-1].startswith(
        "error: uncommitted changes: new.py, probe.py"
    )
    output = project.run(*command, *VALID, "--carry", PROBE=str(probe), **TOKEN)
    assert "carried into every trial, uncommitted: new.py, probe.py" in output
    assert "valid.accuracy 0.0800" in output
    (name,) = names(project)
    found = project.git("for-each-ref", "--format=%(objectname)", f"refs/exps/**/{name}")
    assert "new.py" in project.git("ls-tree", "--name-only", found.strip())


@pytest.mark.slow
def test_remotes_of_its_own_are_used_and_another_clone_runs_nothing_again(
    project, hosts, tmp_path
):
    address, _, probe = hosts
    project.git("init", "--quiet", "--bare", "../there.git")
    project.git("remote", "add", "origin", "../there.git")
    project.dvc("remote", "add", "--default", "store", "../there.dvc")
    project.commit("Remotes")
    project.git("push", "--quiet", "--set-upstream", "origin", "main")
    other = project.clone(tmp_path / "other")
    other.git("remote", "set-url", "origin", "../there.git")
    command = (*SWEEP, "-S", "model.hdim=8,9", "--address", address)
    output = project.run(*command, PROBE=str(probe), **TOKEN)
    assert ".dvc/tmp" not in output
    assert "refs/sweeps" not in project.git("ls-remote", "origin")
    output = other.run(*command, PROBE=str(probe), **TOKEN)
    assert output.count("already there") == 2
    assert names(other) == names(project)
    other.dvc("exp", "apply", names(other).pop())
    assert (other.path / "models/model.txt").exists()


@pytest.mark.long
def test_the_name_that_another_machine_pushed_first_stands(project, probe, monkeypatch):
    """Two run the same trial at the same time; to `dvc exp push` all is well."""
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("PROBE", str(probe))
    code, remote = Code.here(carry=False), Remote.of_project()
    with remote.published(code) as source:
        workers = [Worker(source, ""), Worker(source, "")]
        results = []
        for worker in workers:
            assert worker.set_up() == ""
            results.append(
                worker.run("sweep-same", ["model.hdim=8", "train.seed=1"], "digits")
            )
            worker.close()
    assert [r["error"] for r in results] == ["", ""]
    assert [r["taken"] for r in results] == [False, True]
    assert list(remote.results(code)) == ["sweep-same"]


def test_a_host_that_cannot_read_the_remote_is_named_in_one_line(project, monkeypatch):
    monkeypatch.chdir(project.path)
    with Remote.of_project().published(Code.here(carry=False)) as source:
        worker = Worker(source._replace(git=str(project.path / "nowhere")), "")
        said = worker.set_up()
        worker.close()
    assert re.fullmatch(r"[\w.-]+: fatal: .*nowhere.*", said)


def test_the_bar_counts_trials_and_shows_the_best_so_far(
    short, tmp_path, monkeypatch, terminal
):
    monkeypatch.chdir(tmp_path)
    screen = terminal()
    grid = Grid(Version("", short.text("params.yaml")), ["model.hdim=1,2,3,4"])
    record = Record(grid, {}, "valid.accuracy")
    with record.bar:
        for accuracy in (0.5, 0.9, 0.7):
            metrics = {"valid": {"accuracy": accuracy}}
            result = {"error": "", "log": "", "metrics": metrics, "taken": False}
            record.ended(record.next(), result)
        record.ended(record.next(), {"error": "no\nluck", "log": ""})
        shown = screen.getvalue()
    assert re.search(r"sweep: .* 4.00/4.00 .*best valid.accuracy 0.9000", shown)
    (line,) = re.findall("failed: .*", shown)
    assert "model.hdim=4): no luck; see .dvc/tmp/sweep/logs/sweep-" in line


# What is refused.

OVERRIDES = {
    "model.hdin=8": r"-S model.hdin=8: .*hdin",
    "model.hdim=0,8": r"-S: model.hdim must be a whole number from 1 .*, got 0",
    "model.hdim=a": r"-S: model.hdim must be a whole number",
    "model.hdim": r"-S model.hdim: ",
    "model.hdim=[8": r"-S model.hdim=\[8: ",
    "model.hdim=glob(*)": r"-S model.hdim=glob\(\*\): ",
    "model.hdim=${nope}": r"-S model.hdim=.*: Interpolation key 'nope' not found",
    "model.hdim=${model.hdim}": r"-S model.hdim=.*: Recursive interpolation",
    "model.hdim=???": r"-S model.hdim=\?\?\?: Missing mandatory value",
    "other.yaml:a=1": r"-S other.yaml:a=1: only parameters of params.yaml are swept",
}
OPTIONS = {
    "-S model.hdin=8": r"-S model.hdin=8: .*hdin",
    "--metric test.accuracy": r"--metric test.accuracy: nothing is chosen on the test set",
    "--metric valid.f1": r"--metric valid.f1: expected valid.accuracy or valid.loss",
    "--search 0": r"--search 0: 1 to 1,000,000",
    f"--search -1{'0' * 400}": r"--search -10+\.\.\.: 1 to 1,000,000",
    f"--search 1{'0' * 400}": r"--search 10+\.\.\.: 1 to 1,000,000",
    "--gpus-each -1": r"--gpus-each -1\.0: 0 to 1,000,000",
    "--cpus-each nan": r"--cpus-each nan: 0 to 1,000,000",
    "--search 2": r"--search: valid.accuracy exists only with a validation split; add -S",
}


@pytest.mark.parametrize("words", OVERRIDES)
def test_an_override_that_does_not_fit_is_refused_before_anything_runs(words, short):
    with pytest.raises(UserError) as refused:
        Grid(Version("", short.text("params.yaml")), [words])
    assert re.fullmatch(f"{OVERRIDES[words]}.*", str(refused.value))


@pytest.mark.parametrize("words", OPTIONS)
def test_a_mistake_is_one_line(words, short):
    output = short.run(*SWEEP, *words.split(), ok=False)
    assert re.fullmatch(f"error: {OPTIONS[words]}.*\n", output)


RANGES = {
    "": "expected a mapping of parameters to ranges",
    "[1]": "expected a mapping of parameters to ranges",
    "model.hdim: 8": "model.hdim: got 8; expected {low: ",
    "model.hdim: {low: 8}": "model.hdim: .*; expected {low: ",
    "model.hdim: {low: 9, high: 8}": "model.hdim: .*; expected {low: ",
    "model.hdim: {low: a, high: b}": "model.hdim: no numbers: .*; expected {low: ",
    "model.hdim: {low: 0, high: 8}": "model.hdim must be a whole number from 1 ",
    "model.hdin: {low: 1, high: 8}": ".*hdin",
    "train.init: {choices: [a]}": ".*init",
    "model.init: {choices: [a]}": "model.init must be one of pytorch, keras, got 'a'",
    "prepare.valid_size: {low: 1, high: 9}": "prepare.valid_size: trials on other images",
    "prepare.valid_split: {choices: [last]}": "prepare.valid_split: trials on other images",
    "prepare.test_size: {low: 0.1, high: 0.2}": "prepare.test_size: trials on other images",
    "prepare.seed: {low: 0, high: 9}": "prepare.seed: trials on other images",
    "data.name: {choices: [kmnist]}": "data.name: trials on other images",
    "a: [": "not YAML",
}


@pytest.mark.parametrize("text", RANGES)
def test_ranges_that_are_none_are_refused_by_their_file(text, short, tmp_path):
    path = tmp_path / "ranges.yaml"
    path.write_text(text)
    grid = Grid(Version("", short.text("params.yaml")), ["prepare.valid_size=5"])
    with pytest.raises(UserError, match=f"^{path}: {RANGES[text]}"):
        Search(grid, path, 3, "valid.accuracy")
    with pytest.raises(UserError, match="No such file"):
        Search(grid, tmp_path / "none", 3, "valid.accuracy")


def test_without_ray_it_says_how_to_install_it(short, tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError\n")
    output = short.run(*SWEEP, ok=False, PYTHONPATH=str(tmp_path))
    assert output == (
        "error: ray is not installed: `make scale` installs it, or "
        "pip install -r requirements-scale.txt\n"
    )


def test_an_address_where_no_cluster_is(project):
    for address in ("127.0.0.1:9", "nonsense"):
        line = last_line(project, "--address", address)
        assert re.match(f"error: --address {address}: no cluster: ", line)


def test_more_than_any_host_has_is_last_line(project, hosts):
    line = last_line(project, "--address", hosts[0], "--gpus-each", "3")
    assert line == (
        "error: --gpus-each 3 --cpus-each 1: no host has that many; the most are 2 GPUs "
        "and 2 CPUs"
    )


def test_a_name_is_that_of_its_trial_on_every_machine(short):
    version = Version("a commit", short.text("params.yaml"))
    (one,) = Grid(version, ["model.hdim=8", "train.lr=1e-3"]).trials
    (other,) = Grid(version, ["train.lr=0.001", "model.hdim=8"]).trials
    assert one.name == other.name
    seeds = Grid(version, ["train.seed=range(0,3)"]).trials
    assert len({trial.name for trial in seeds} | {one.name}) == 4
    assert (
        Grid(Version("later", version.params), ["model.hdim=8"]).trials[0].name != one.name
    )


def test_nothing_else_imports_the_extra():
    files = [
        p for d in ("src", "stages", "benchmarks", "tools") for p in Path(d).rglob("*.py")
    ]
    users = {
        p.name
        for p in files
        if re.search(r"^\s*(import|from) (ray|optuna)", p.read_text(), re.M)
    }
    assert users == {"actor.py", "plan.py", "pool.py"}


# What the pages show.


def shown(page, mark):
    """Return the first block of commands after ``mark`` in ``page``."""
    return Path(page).read_text().partition(mark)[2].split("```bash\n")[1].split("\n```")[0]


@pytest.mark.slow
def test_a_newcomer_sees_a_sweep_of_four_come_back(tmp_path):
    """The README's own command, with the real stages, on `digits` and for two epochs."""
    project = create(tmp_path / "project", TINY | {"data": {"name": "digits"}})
    install, sweep, show, _ = shown("README.md", "<!-- sweep -->").splitlines()
    assert install == "make scale"
    fit = sweep.replace("=16,32,64,128", "=4,8,12,16").replace("=5000", "=200")
    output = project.run("bash", "-c", fit)
    assert output.count("valid.accuracy 0.") == 4
    table = project.run("bash", "-c", show)
    assert table.count("[sweep-") == 4
    best = re.search(r"dvc exp apply (\S+)", output)[1]
    project.dvc("exp", "apply", best)
    assert (project.path / "models/page.html").exists()


@pytest.mark.slow
def test_the_line_that_pins_gpus_to_the_workers_of_dvcs_queue(project, probe):
    line = shown("docs/sweeps.md", "## DVC's queue")
    assert f"`{line}`" in Path("README.md").read_text()
    project.dvc("exp", "run", "--queue", "-S", "train.seed=range(1,13)")
    project.run("bash", "-c", line, PROBE=str(probe))
    wait_for(lambda: not re.search("Queued|Running", project.dvc("queue", "status")), 300)
    tasks = re.findall(r"^(\w{7}) .* Success", project.dvc("queue", "status"), re.M)
    assert len(tasks) == 12
    logs = "".join(project.dvc("queue", "logs", task) for task in tasks)
    assert set(re.findall(r"devices (\S+)", logs)) == {"0", "1", "2", "3"}


@pytest.mark.long
def test_a_job_of_slurms_array_pushes_its_experiment(project, probe):
    """Its body, with what Slurm sets; the array itself is Slurm's."""
    project.git("init", "--quiet", "--bare", "../there.git")
    project.git("remote", "add", "origin", str(project.path.parent / "there.git"))
    store = str(project.path.parent / "there.dvc")
    project.dvc("remote", "add", "--default", "store", store)
    project.commit("Remotes")
    project.git("push", "--quiet", "--set-upstream", "origin", "main")
    job = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    job |= {"SLURM_SUBMIT_DIR": str(project.path), "PROBE": str(probe)}
    user = {
        f"GIT_{who}_{what}": "t@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    project.run("bash", "runs/slurm.sh", **job, **user)
    project.dvc("exp", "pull", "origin")
    (found,) = table(project).items()
    assert found[0] == "slurm-7-2"
    assert found[1]["params"]["params.yaml"]["data"]["model"]["hdim"] == 64
    output = project.run("bash", "runs/slurm.sh", ok=False, **job, **user)
    assert "No experiments to push" in output  # nor is that a success
