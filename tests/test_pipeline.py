"""dvc.yaml against the code: a stage depends on what can change a byte of its outputs."""

import ast
import functools
import re
import sys
from pathlib import Path

import pytest
import yaml

from mnist_lstm.plumbing.inputs import fill_in
from mnist_lstm.plumbing.params import Params

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
SOURCE = Path("src")
PLUMBING = SOURCE / "mnist_lstm" / "plumbing"
PACKAGES = set(SOURCE.rglob("__init__.py"))
# What plumbing may import beside the standard library and itself: nothing that computes.
ALLOWED = {"pathspec", "pydantic", "requests", "ruamel", "tqdm", "urllib3"}


def imports(path):
    """Return the absolute names of all that ``path`` imports, also within functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@functools.cache
def imported(path):
    """Return the files of the project that ``path`` imports: modules, or names in them."""
    paths = [SOURCE.joinpath(*name.split(".")) for name in imports(path)]
    files = [file.with_suffix(".py") for path in paths for file in (path, path.parent)]
    return {file for file in files if file.exists()}


def closure(path):
    """Return ``path`` and all of the project that it imports, directly or not.

    A template beside a module, under its name, is a part of it.
    """
    seen, todo = set(), {path}
    while todo:
        seen |= todo
        todo = set.union(*map(imported, todo)) - seen
    return seen | {
        file for path in seen for file in path.parent.glob(f"{path.stem}.*.jinja")
    }


def code(deps):
    """Return the files of code that ``deps`` of dvc.yaml cover."""
    files = set()
    for dep in deps:
        path = Path(fill_in(dep, {"model.name": "lstm"}))
        if path.parts[0] in ("src", "stages"):
            files |= {path} if path.is_file() else set(path.rglob("*.*"))
    return {file for file in files if file.suffix in (".py", ".jinja")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_imports_but_for_the_plumbing(stage):
    used = closure(Path(f"stages/{stage}.py"))
    if SOURCE / "mnist_lstm/models/base.py" in used:  # it imports the model by its name
        used |= closure(SOURCE / "mnist_lstm/models/lstm.py")
    used = {path for path in used if PLUMBING not in path.parents}
    assert code(STAGES[stage]["deps"]) - PACKAGES == used - PACKAGES


def test_the_plumbing_imports_nothing_that_computes_and_nothing_outside_itself():
    for path in PLUMBING.rglob("*.py"):
        for name in imports(path):
            known = name.partition(".")[0] in sys.stdlib_module_names | ALLOWED
            assert known or name.startswith("mnist_lstm.plumbing."), (path, name)


def test_no_parameter_has_its_value_in_the_code():
    """DVC tracks those in params.yaml; a default in the plumbing would escape it."""
    sections = [field.annotation for field in Params.model_fields.values()]
    fields = [f for kind in (Params, *sections) for f in kind.model_fields.values()]
    assert all(field.is_required() for field in fields)


def test_packages_hold_no_code():
    """Or else they would be dependencies. The first hands on what `predict` defines."""
    for path in PACKAGES - {SOURCE / "mnist_lstm" / "__init__.py"}:
        (docstring,) = ast.parse(path.read_text()).body
        assert isinstance(docstring, ast.Expr), path


def test_imports_point_one_way():
    for file in SOURCE.rglob("*.py"):
        for other in imported(file):
            assert file not in closure(other), f"{file} and {other} import each other"


def test_no_stage_imports_another():
    """Python finds a script's siblings, and DVC would not know of them."""
    siblings = {path.stem for path in Path("stages").glob("*.py")} | {"stages"}
    for path in Path("stages").glob("*.py"):
        assert not {name.partition(".")[0] for name in imports(path)} & siblings, path


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_exactly_the_params_that_it_reads(stage):
    """A leaf where it reads a leaf, a section where it hands on a section whole."""
    text = Path(f"stages/{stage}.py").read_text()
    read = re.findall(r"\bparams\.(\w+)\.?(\w*)", text)
    read = [pair for pair in read if pair[0] in Params.model_fields]
    listed = [param.partition(".")[::2] for param in STAGES[stage]["params"]]
    assert keys(listed) == keys(read)
    assert not re.findall(r"[(, ]params[,)]", text), "it hands on all of params.yaml"


def keys(pairs):
    """Return the keys that (section, leaf) stand for: one, or all of the section."""
    found = set()
    for section, leaf in pairs:
        known = Params.model_fields[section].annotation.model_fields
        found |= {(section, key) for key in ([leaf] if leaf in known else known)}
    return found


def test_what_lies_in_git_is_listed_as_metric_or_plot_and_the_rest_is_cached():
    """Under ``outs``, a file without cache keeps DVC from using what it ran before."""
    for stage in STAGES.values():
        for path in stage.get("outs", []):  # a string: with no flags
            assert path.startswith(("data/", "models/")), path
        for out in [*stage.get("metrics", []), *stage.get("plots", [])]:
            ((path, flags),) = out.items()
            assert path.startswith(("metrics/", "plots/")), path
            assert flags["cache"] is False, path
