"""What docs/sweeps.md shows: the first sweep, its end, DVC's queue and Slurm's array."""

import csv
import re
from pathlib import Path

import pytest

from defaults import TINY
from sandbox import create
from sweeping import add_remotes, create_short, table, wait_for


@pytest.fixture
def project(tmp_path):
    return create_short(tmp_path / "project")


def shown(page, mark):
    """Return the first block of commands after ``mark`` in ``page``."""
    return Path(page).read_text().partition(mark)[2].split("```bash\n")[1].split("\n```")[0]


@pytest.mark.slow
def test_a_newcomer_sees_a_sweep_of_four_come_back(tmp_path):
    """The page's own command, with the real stages, on `digits` and for two epochs."""
    pytest.importorskip("ray.tune", reason="run make scale", exc_type=ImportError)
    project = create(tmp_path / "project", TINY | {"data": {"name": "digits"}})
    lines = shown("docs/sweeps.md", "<!-- sweep -->").splitlines()
    (line,) = [line for line in lines if line.startswith("python tools/sweep.py")]
    fit = line.replace("=16,32,64,128", "=4,8,12,16").replace("=5000", "=200")
    output = project.run("bash", "-c", fit)
    assert output.count("valid.accuracy 0.") == 4
    project.dvc("exp", "apply", re.search(r"dvc exp apply (\S+)", output)[1])
    assert (project.path / "models/page.html").exists()


@pytest.mark.long
def test_the_best_trial_is_applied_reviewed_and_committed_by_three_commands(before):
    before.dvc("exp", "run", "--temp", "--name", "best", "-S", "model.hdim=24")
    assert before.git("status", "--porcelain") == ""
    before.git("checkout", "--quiet", "-b", "wider")
    apply, review, commit = shown("docs/sweeps.md", "<!-- best -->").splitlines()
    before.run("bash", "-c", apply.replace("NAME", "best"))
    said = before.run("bash", "-c", review)
    assert re.search(r"model.hdim +\| 16 +\| 24 ", said)
    assert "Outputs that moved: " in said
    before.run("bash", "-c", commit)
    assert before.git("status", "--porcelain") == ""
    assert "hdim: 24" in before.git("show", "HEAD:params.yaml")
    assert "up to date" in before.dvc("status")


@pytest.mark.slow
def test_the_line_that_pins_gpus_to_the_workers_of_dvcs_queue(project, tmp_path):
    line = shown("docs/sweeps.md", "## DVC's queue")
    project.dvc("exp", "run", "--queue", "-S", "train.seed=range(1,13)")
    project.run("bash", "-c", line, PROBE=str(tmp_path))
    wait_for(lambda: not re.search("Queued|Running", project.dvc("queue", "status")), 300)
    assert len(re.findall(" Success", project.dvc("queue", "status"))) == 12
    seen = {line.split()[1] for line in (tmp_path / "trials").read_text().splitlines()}
    assert {"0", "1"} <= seen <= {"0", "1", "2", "3"}  # a late worker may get no trial


@pytest.mark.long
def test_a_job_of_slurms_array_pushes_its_experiment(project, tmp_path):
    """Its body, with what Slurm sets; the array itself is Slurm's."""
    add_remotes(project, tmp_path)
    project.git("push", "--quiet", "--set-upstream", "origin", "main")
    job = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2", "PROBE": str(tmp_path)}
    job |= {"SLURM_SUBMIT_DIR": str(project.path)}
    project.run("bash", "runs/slurm.sh", **job)
    project.dvc("exp", "pull", "origin")
    ((name, found),) = table(project).items()
    assert name == "slurm-7-2"
    assert found["params"]["params.yaml"]["data"]["model"]["hdim"] == 64


@pytest.mark.slow
def test_the_sweep_ends_in_a_table(tmp_path):
    project = create(tmp_path / "project", TINY | {"data": {"name": "digits"}})
    project.dvc("repro", "prepare")
    few = "-S model.hdim=4,12 -S prepare.valid_size=100"
    longer = "-S train.epochs=6 -S train.batch_size=32"
    project.run("bash", "-c", f"bash runs/sweep.sh {few} {longer} > sweep.csv")
    table = list(csv.DictReader((project.path / "sweep.csv").open()))
    sizes = {row["model.hdim"]: row for row in table if row["rev"] != "workspace"}
    assert {"4", "12"} <= sizes.keys()
    assert float(sizes["12"]["valid.accuracy"]) > 0.3  # untrained: about 0.1
