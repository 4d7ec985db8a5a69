"""A pipeline of seconds for sweeps, run by the real DVC, and what came of it."""

import json
import time

from defaults import TINY
from sandbox import create

SWEEP = ("python", "tools/sweep.py", "-S", "prepare.valid_size=100", "-S")
# One stage in the place of seven, run by the real DVC; $PROBE is a folder of the test.
PIPELINE = """
stages:
  train:
    cmd: exec python probe.py
    deps: [probe.py]
    params: [model.hdim, train.seed, train.lr, prepare.valid_size]
    outs: [models/model.txt]
    metrics:
      - metrics/evaluate.json: {cache: false}
"""
PROBE = """
import json, os, sys, time
from pathlib import Path
from ruamel.yaml import YAML

hdim = YAML(typ="safe").load(Path("params.yaml"))["model"]["hdim"]
probe = Path(os.environ["PROBE"])
with (probe / "trials").open("a") as file:
    print(hdim, os.environ.get("CUDA_VISIBLE_DEVICES"), file=file)
if hdim == 13:
    sys.exit("error: 13 is unlucky")
if hdim == 77:
    (probe / "new").write_text(str(os.getpid()))
    (probe / "new").rename(probe / "waits")
    while not (probe / "go").exists():
        time.sleep(0.1)
Path("models").mkdir(exist_ok=True)
Path("models/model.txt").write_text(f"model of {hdim}")
Path("metrics").mkdir(exist_ok=True)
scores = {"valid": {"accuracy": hdim / 1000}, "test": {"accuracy": 1 - hdim / 1000}}
Path("metrics/evaluate.json").write_text(json.dumps(scores))
"""


def create_short(path):
    """Return the project with a pipeline of seconds."""
    project = create(path, TINY | {"data": {"name": "digits"}})
    (project.path / "dvc.yaml").write_text(PIPELINE)
    (project.path / "probe.py").write_text(PROBE)
    project.commit("A short pipeline")
    return project


def table(project):
    """Return the experiments of `dvc exp show` by their names."""
    shown = json.loads(project.dvc("exp", "show", "--json"))
    found = [e for rev in shown for e in rev["experiments"] or []]
    return {e["revs"][0]["name"]: e["revs"][0]["data"] for e in found}


def add_remotes(project, folder):
    """Give ``project`` a Git and a DVC remote in ``folder``; return the Git remote."""
    remote = str(folder / "there.git")
    project.git("init", "--quiet", "--bare", remote)
    project.git("remote", "add", "origin", remote)
    project.dvc("remote", "add", "--default", "store", str(folder / "there.dvc"))
    project.commit("Remotes")
    return remote


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
