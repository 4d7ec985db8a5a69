"""`make repro`, where it fails, and where it has the genuine data."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from defaults import TINY
from sandbox import create, ran


@pytest.fixture
def mnist(tmp_path):
    """The project as it is, on MNIST, with a tiny model."""
    return create(tmp_path / "project", TINY)


def test_the_environment_is_made_again_when_requirements_change_and_not_by_a_clock(mnist):
    plan = ["make", "--dry-run", "repro"]
    assert "pip install" in mnist.run(*plan)
    mnist.set_up()
    mnist.run("bash", "-c", "cksum <requirements-scale.txt >.venv/scale")
    for date in (0, 2**31):  # a virtual machine's clock, or that of another system
        os.utime(mnist.path / "requirements.txt", (date, date))
        assert mnist.run(*plan) == "tools/repro\n"
        assert "pip" not in mnist.run("make", "--dry-run", "scale")
    for file, target in (("-scale", "scale"), ("", "repro")):
        mnist.run("bash", "-c", f"echo '# more' >>requirements{file}.txt")
        assert "pip install" in mnist.run("make", "--dry-run", target)


def test_your_settings_of_pip_tell_where_to_fetch_from_and_not_where_to_install(mnist):
    show = "include Makefile\nshow:\n\t@pip config list; env\n"
    (mnist.path / "show.mk").write_text(show)
    (mnist.path / "pip.conf").write_text("[install]\nuser = yes\n")
    elsewhere = dict.fromkeys(["PIP_TARGET", "UV_PYTHON", "PYTHONHOME"], "/elsewhere")
    settings = {"PIP_CONFIG_FILE": "pip.conf", "PIP_USER": "yes", "PYTHONPATH": ""}
    kept = {"PIP_INDEX_URL": "https://mirror.example", "UV_DEFAULT_INDEX": "https://mirror"}
    env = elsewhere | settings | kept
    lines = mnist.run("make", "-f", "show.mk", "show", **env).splitlines()
    assert "install.user='yes'" in lines  # which a variable overrides
    assert ":env:.user='0'" in lines
    assert ":env:.index-url='https://mirror.example'" in lines
    assert "UV_DEFAULT_INDEX=https://mirror" in lines
    assert not [line for line in lines if line.partition("=")[0] in elsewhere]


# What make 3.81, bash 3.2 and the BSD commands of macOS cannot do, and an example of each.
# bash 4 also takes an empty list under `set -u`.
TOO_NEW = {
    "make": {
        r"^[^\t#=]*:[^=]*\b(override|export) +(override|export)\b": "x: override export y",
        r"::=|^[^\t#]*!=|&:": "NOW != date",
        r"^\.(ONESHELL|SHELLFLAGS|EXTRA_PREREQS|RECIPEPREFIX|WAIT)\b": ".ONESHELL:",
        r"^ *(undefine|private|-?load)\b|^ *define \S+ *[:?+]?=": "undefine BASE",
        r"\$[({](file|guile|let|intcmp) ": "$(file >x,y)",
    },
    "bash": {
        r"\b(mapfile|readarray|coproc)\b": "mapfile -t lines",
        r"\b(declare|local|typeset|printf|read|wait) +-[a-zA-Z]*[Anglfpiv]": "wait -n",
        r"\$\{[^}]*(,,?|\^\^?|@[A-Za-z])\}|\[-\d+\]": "${name,,}",
        r"&>>|\|&|;;?&|\{\w+\}[<>]": "make &>>log",
        r"\bglobstar|\binherit_errexit|\blastpipe|\[\[? +-[vR] ": "[[ -v name ]]",
        r"\$\{?(EPOCH|BASHPID|SRANDOM)|%\([^)]*\)T": "$EPOCHSECONDS",
        r"=\(\)(?!(?s:.*)\$\{#\w+\[@\]\})": 'list=() && echo "${list[@]}"',
    },
    "commands": {
        r"\b(sed|xargs) +(-[a-zA-Z]*[dir]\b|--)|\bgrep +-[a-zA-Z]*P": "sed -i s/a/b/ x",
        r"\bdate +(-[dI]|--|\S*%N)|\bstat +-c|\breadlink +-[fem]": "date +%s%N",
        r"(^|[\s;|&(])(timeout|setsid|tac|nproc|flock|(md5|sha\d+)sum) ": "timeout 5 sh",
        r"\b(cp|rm|ls|mktemp|head|sort|find|du) +(-[a-zA-Z]*[tTpVb]\b|--)": "mktemp -p x",
        r"\bfind [^|;]*-printf|\bhead [^|;]*-n *-|\becho +-[en]": "echo -e x",
    },
}
SCRIPTS = ["tools/repro", ".ci/run", "runs/slurm.sh", "runs/sweep.sh"]
FILES = {"make": ["Makefile"], "bash": SCRIPTS, "commands": ["Makefile", *SCRIPTS]}


def test_make_and_bash_of_macos_can_run_it():
    for kind, files in FILES.items():
        for pattern, example in TOO_NEW[kind].items():
            for text in [example, *(Path(file).read_text() for file in files)]:
                found = re.findall(f"(?m:{pattern}).*", text)
                assert bool(found) == (text is example), (pattern, text)
    for script in SCRIPTS:
        subprocess.run(["bash", "-n", script], check=True)


def test_the_environment_of_another_clone_is_not_emptied(mnist, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/python").touch()
    (mnist.path / ".venv").symlink_to(tmp_path / "theirs")
    output = mnist.run("make", ".venv/installed", ok=False)
    assert ".venv is a link: setting it up would empty what it points to" in output
    assert (tmp_path / "theirs/python").exists()


def test_git_takes_neither_a_link_to_another_disk_nor_what_tools_write(mnist, tmp_path):
    for name in (".venv", "data", "models", "checkpoints", ".mypy_cache", "build"):
        (mnist.path / name).symlink_to(tmp_path)
    tools = ("dist/a.whl", "src/a.egg-info/PKG-INFO", "uv.lock", ".coverage", "nohup.out")
    for name in (*tools, "slurm-1_0.out"):
        (mnist.path / name).parent.mkdir(exist_ok=True)
        (mnist.path / name).touch()
    mnist.git("add", "--all")
    assert mnist.git("status", "--porcelain") == ""


@pytest.mark.long
def test_a_value_that_git_does_not_see_is_told_and_the_way_back_finds_it(mnist):
    """As long as the old one, and written within the second of Git's last look."""
    mnist.set_params({"train": {"lr": -1}})
    mnist.commit("A mistake")
    before = mnist.text("params.yaml")
    (way_back,) = re.findall("^git read-tree .*", Path("README.md").read_text(), re.M)

    mnist.dvc("exp", "run", "-S", "train.seed=5", ok=False)
    assert mnist.text("params.yaml") != before
    output = mnist.run("tools/repro", ok=False)
    assert "params.yaml differs from the last commit; this runs with" in output
    assert re.search(r"train\.seed +0 +5$", output, re.M)
    assert "train.lr must be greater than 0, got -1" in output
    assert "digits" not in output  # any other failure is a failure
    mnist.dvc("exp", "run", "-S", "train.seed=6", ok=False)
    mnist.run("bash", "-c", way_back.removesuffix(" && dvc checkout"))  # nothing is there
    assert mnist.text("params.yaml") == before


@pytest.mark.long
def test_outside_a_repository_it_says_how_to_make_one(mnist):
    output = mnist.run("tools/repro", ok=False, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert "git config --global --add safe.directory" in output  # by Git itself
    shutil.rmtree(mnist.path / ".git")  # as in GitHub's ZIP
    output = mnist.run("tools/repro", ok=False)
    assert "error: DVC needs a Git repository, and git opens none here" in output
    assert "ERROR" not in output  # DVC does not even start
    (advice,) = [line for line in output.splitlines() if "git init" in line]
    mnist.set_params({"train": {"lr": -1}})
    user = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
    user |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in user.items()}
    mnist.run("bash", "-c", advice, **user)
    output = mnist.run("tools/repro", ok=False)
    assert "differs" not in output
    assert "train.lr must be" in output


def test_a_lock_that_a_dead_git_left_is_told_with_the_way_out(copy):
    (copy.path / ".git/index.lock").touch()
    (line,) = copy.run("tools/repro", ok=False).splitlines()
    assert line.startswith("error: .git/index.lock: a Git command is at work, or one that")
    copy.run("bash", "-c", line.rpartition(": ")[2])
    assert not (copy.path / ".git/index.lock").exists()


@pytest.mark.long
def test_without_any_mirror_it_says_so_and_runs_digits_by_their_recipe(mnist):
    recipe = mnist.path / "recipes/digits"
    recipe.write_text(re.sub(r"epochs=\d+", "epochs=1", recipe.read_text()))
    mnist.set_params({"data": {"name": "kmnist"}})  # for which digits are no substitute
    output = mnist.run("tools/repro", ok=False)
    assert "error: no mirror served train-images-idx3-ubyte.gz of kmnist:" in output
    assert "digits" not in output
    mnist.set_params({"data": {"name": "mnist"}})
    mnist.commit("A short recipe")
    output = mnist.run("tools/repro")
    assert "error: no mirror served train-images-idx3-ubyte.gz of mnist:" in output
    refused, *stages = ran(output)
    assert (refused, len(stages)) == ("download", 7)
    params = yaml.safe_load(mnist.text("params.yaml"))
    assert params["data"] == {"name": "digits"}
    assert f"-S model.dropout={params['model']['dropout']}" in recipe.read_text()
    advice = output[output.index("No MNIST mirror could be reached") :]
    advice = advice.partition("make repro\n")[0]
    (way_back,) = [line for line in advice.splitlines() if "git restore" in line]
    mnist.run("bash", "-c", way_back.removesuffix(" && dvc checkout"))  # nothing is there
    assert mnist.git("diff", "--stat", "HEAD", "--", "params.yaml") == ""
