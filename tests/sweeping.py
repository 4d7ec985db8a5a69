"""What the tests of sweeps share: a pipeline of seconds, a Ray cluster on this machine."""

import secrets
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from defaults import TINY
from sandbox import Sandbox, create

# Two stages in the place of seven, run by the real DVC; what they do is told by params.yaml
# and by files in $PROBE, a folder of the test.
PIPELINE = """
stages:
  download:
    cmd: python probe.py download
    params: [data.name]
    outs: [data/raw]
  train:
    cmd: exec python probe.py train
    deps: [data/raw, probe.py]
    params: [model.hdim, train.seed, train.lr, prepare.valid_size]
    outs: [models/model.txt]
    metrics:
      - metrics/evaluate.json: {cache: false}
"""
PROBE = """
import json, os, sys, time
from pathlib import Path
from ruamel.yaml import YAML

params = YAML(typ="safe").load(Path("params.yaml"))
told = Path(os.environ["PROBE"])
where = os.environ.get("TMPDIR", "")
if sys.argv[1] == "download":
    Path("data/raw").mkdir(parents=True)
    Path("data/raw/data.txt").write_text(params["data"]["name"])
    with (told / "downloads").open("a") as file:
        print(where, file=file)
else:
    hdim = params["model"]["hdim"]
    print("devices", os.environ.get("CUDA_VISIBLE_DEVICES"), "on", where)
    if hdim == 13:
        sys.exit("error: 13 is unlucky")
    if hdim == 77 and not (told / "go").exists():
        (told / "waits").write_text(str(os.getpid()))
        while True:
            time.sleep(0.1)
    Path("models").mkdir(exist_ok=True)
    Path("models/model.txt").write_text(f"{hdim} of {time.time()}")
    Path("metrics").mkdir(exist_ok=True)
    scores = {"test": {"accuracy": 0.5}}
    if params["prepare"]["valid_size"]:
        scores["valid"] = {"accuracy": hdim / 1000, "loss": 1 / hdim}
    Path("metrics/evaluate.json").write_text(json.dumps(scores))
"""


# Of the clusters that tests start: no one else is to use them, nor they anyone's.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def create_project(path: Path) -> Sandbox:
    """Return the project with the short pipeline, committed."""
    project = create(path, TINY | {"data": {"name": "digits"}})
    (path / "dvc.yaml").write_text(PIPELINE)
    (path / "probe.py").write_text(PROBE)
    project.commit("A short pipeline")
    return project


def names(project: Sandbox) -> set[str]:
    """Return the experiments that `dvc exp show` has."""
    listed = project.git("for-each-ref", "--format=%(refname)", "refs/exps")
    return {line.rpartition("/")[2] for line in listed.splitlines() if "sweep-" in line}


def wait_for(condition, seconds: float = 120) -> None:
    """Wait until ``condition()`` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def processes(mark: str) -> list[psutil.Process]:
    """Return the living processes with PROBE=``mark`` in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PROBE") == mark and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


@contextmanager
def cluster(probe: Path, *nodes: dict[str, int]):
    """Start a Ray node here for each of ``nodes``; give the address and temp folders.

    Each has its own temp folder, as on a host of its own, and GPUs that are none.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folders = [Path(tempfile.mkdtemp(prefix="ray")) for _ in nodes]  # sockets: short paths
    with ExitStack() as stack:
        for folder in folders:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for i, (folder, room) in enumerate(zip(folders, nodes, strict=True)):
            where = [f"--address={address}"]
            if i == 0:
                port = address.partition(":")[2]
                where = ["--head", f"--port={port}", "--include-dashboard=false"]
            node = Sandbox(folder).start(
                *("ray", "start", "--block", *where, "--node-ip-address=127.0.0.1"),
                *(f"--num-{kind}={number}" for kind, number in room.items()),
                f"--temp-dir={folder}",
                own_group=True,
                TMPDIR=str(folder),
                PROBE=str(probe),
                **TOKEN,
            )
            stack.callback(end, node)
            said = []
            for line in node.stdout:
                said.append(line)
                if "Ray runtime started" in line:
                    break
            else:
                raise AssertionError("".join(said))
        yield address, folders


def end(node) -> None:
    """End a Ray node and all of its processes at once: it takes its time when asked."""
    mine = psutil.Process(node.pid)
    for process in [mine, *mine.children(recursive=True)]:
        process.kill()
    node.stdout.close()
    node.wait()
