"""`make mine`: from this project to one's own, by the README's commands, for real."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import mine
from defaults import TINY
from mnist_lstm.plumbing.errors import UserError
from own_data import write_images, write_windows
from sandbox import ROOT, Sandbox, create

NAME = "washer"


def test_a_name_that_python_cannot_import_or_has_already_is_refused():
    for name in ("Washer", "9lives", "my-package", "a" * 21, "../x", "class"):
        with pytest.raises(UserError, match="is not a name for `import`"):
            mine.refuse_name(name)
    for name in ("torch", "mnist_lstm", "same", "train"):
        with pytest.raises(UserError, match="a module that is here already"):
            mine.refuse_name(name)
    mine.refuse_name(NAME)


def test_what_is_not_committed_is_named_and_whoever_fails_has_the_folder_as_it_was(
    tmp_path,
):
    project = create(tmp_path / "project", TINY)
    run = ("python", "tools/mine.py", NAME)
    (project.path / "dvc.yaml").unlink()
    output = project.run(*run, ok=False, PYTHONPATH="src")
    said = "not committed: dvc.yaml; commit it or put it elsewhere first"
    assert output == f"error: {said}\n"
    project.commit("No pipeline, so that `make same` fails")
    before = project.git("rev-parse", "HEAD")
    assert "error: " in project.run(*run, ok=False, PYTHONPATH="src")
    assert project.git("status", "--porcelain", "--ignored=no") == ""
    assert project.git("rev-parse", "HEAD") == before
    assert not (project.path / "src" / NAME).exists()


def check(project):
    """Check that a renamed project is whole: nothing names what is gone."""
    assert project.git("grep", "-l", "mnist_lstm", ok=False) == ""
    names = project.git("ls-files").split()
    assert not [n for n in names if n.startswith(("benchmarks/", "tests/mnist/"))]
    pages = [
        project.path / name for name in names if name.endswith((".md", ".sh", "repro"))
    ]
    recipes = {found for p in pages for found in re.findall(r"recipes/\w+", p.read_text())}
    assert recipes <= set(names), "what stays reads recipes that are gone"
    assert project.text("README.md").startswith(f"# {NAME}\n")
    twice = project.run("make", "mine", "NAME=other", ok=False)
    assert "error: this project has a name of its own already" in twice


@pytest.mark.long
def test_a_renamed_copy_is_whole_needs_no_new_environment_and_its_tests_import(
    tmp_path, monkeypatch
):
    """In seconds; below, all of its tests run."""
    project = create(tmp_path / "project", TINY)
    give_environment(project.path)
    monkeypatch.chdir(project.path)
    mine.cut()
    mine.rename(NAME)
    mine.write_pages(NAME, "0123456")
    assert project.git("diff", "--stat", "--", "page") == ""  # or `export` would run again
    project.commit("Renamed")
    check(project)
    assert project.run("make", "--dry-run", "repro") == "tools/repro\n"
    run = "source .venv/bin/activate; python -m pytest --quiet --collect-only | tail -1"
    assert re.search(r"\d tests collected in", project.run("bash", "-c", run))
    project.run("ruff", "check", "--ignore", "I", ".")


def give_environment(path):
    """Make a ``.venv`` in which this one's packages are, but for the project's own."""
    make = [sys.executable, "-m", "venv", "--without-pip", ".venv"]
    subprocess.run(make, cwd=path, check=True)
    (site,) = (path / ".venv/lib").glob("python*/site-packages")
    others = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site / "project.pth").write_text("\n".join([str(path / "src"), *others]))
    subprocess.run("cksum <requirements.txt >.venv/installed", cwd=path, shell=True)


def comment_params(project):
    """Commit the comments of params.yaml, which `set_params` drops."""
    yaml = YAML()  # keeps comments
    text = yaml.load(ROOT / "params.yaml")
    for section, values in YAML(typ="safe").load(project.path / "params.yaml").items():
        text[section].update(values)
    yaml.dump(text, project.path / "params.yaml")
    project.commit("Comments")


@pytest.fixture(scope="module")
def copied(built, tmp_path_factory):
    """The project after the README's commands, but for its name and the windows' place."""
    folder = tmp_path_factory.mktemp("mine")
    write_windows(folder / "windows")
    page = Path("README.md").read_text().partition("<!-- mine -->\n")[2]
    clone, *commands = re.match(r"```bash\n(.*?)\n```", page, re.DOTALL)[1].splitlines()
    clone = clone.replace("URL-OF-THIS-REPOSITORY", str(built.path))
    said = built.run("bash", "-ec", f"cd {folder} && {clone}")
    project = Sandbox(folder / NAME)
    project._sign()
    comment_params(project)
    give_environment(project.path)
    first, *rest = commands
    assert first == f"make mine NAME={NAME}"
    assert "YOUR-WINDOWS" in rest[0]
    said += project.run("bash", "-ec", first)
    project.after = project.git("rev-parse", "HEAD").strip()
    for line in rest:
        line = line.replace("YOUR-WINDOWS", str(folder / "windows"))
        said += project.run("bash", "-ec", f"source .venv/bin/activate\n{line}")
    project.output = said
    return project


@pytest.mark.slow
def test_from_a_clone_to_a_first_green_commit_with_own_windows_and_the_gru(copied):
    check(copied)
    assert copied.git("status", "--porcelain") == ""
    assert copied.git("rev-list", "--count", f"{copied.after}..HEAD").strip() == "1"
    assert f"import {NAME}" in copied.output
    assert re.search(r"\d+ passed", copied.output)
    changed = copied.git("diff", "--stat", f"{copied.after}~1", copied.after, "--", "plots")
    assert changed == ""  # no stage has run


@pytest.mark.slow
def test_with_own_images_committed_as_the_default_its_tests_pass_as_well(copied):
    copied.run("rm", "-r", "own/train", "own/train.dvc")
    write_images(copied.path / "own/train")
    sizes = "prepare.height=12 prepare.width=9 model.xdim=9 model.ydim=2 model.hdim=32"
    words = ["prepare.picture=scale", *sizes.split()]
    copied.dvc("exp", "run", *(part for word in words for part in ("-S", word)))
    copied.git("add", "--all")
    copied.git("add", "--force", "own/train")
    copied.git("commit", "--quiet", "--message", "Our images")
    assert re.search(r"\d+ passed", copied.run("make", "test"))
