"""dvc.yaml against the code: what a stage imports is what it depends on."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from mnist_lstm.params import Params

PIPELINE = yaml.safe_load(Path("dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
SOURCE = Path("src/mnist_lstm")


def imported(path):
    """Return the modules of the project that ``path`` imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            file = SOURCE / f"{module}.py"
            if package == "mnist_lstm" and file.exists():
                found.add(file)
    return found


def closure(path):
    """Return ``path`` and all that it imports, directly or not."""
    seen, todo = set(), {path}
    while todo:
        seen |= todo
        todo = set.union(*(imported(file) for file in todo)) - seen
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_that_it_imports(stage):
    deps = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert deps == {str(path) for path in closure(Path(f"stages/{stage}.py"))}


def test_the_package_itself_holds_no_code():
    """Or else it would be a dependency of every stage."""
    (docstring,) = ast.parse((SOURCE / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)


def test_imports_point_one_way():
    files = sorted(SOURCE.glob("*.py"))
    for file in files:
        for other in imported(file):
            assert file not in closure(other), f"{file} and {other} import each other"


def test_no_stage_imports_another():
    for stage in STAGES:
        text = Path(f"stages/{stage}.py").read_text()
        assert "import stages" not in text
        assert "from stages" not in text


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_exactly_the_params_that_it_reads(stage):
    """A leaf where it reads a leaf, a section where it hands on a section whole."""
    text = Path(f"stages/{stage}.py").read_text()
    read = re.findall(r"\bsettings\.(\w+)\.?(\w*)", text)
    listed = [param.partition(".")[::2] for param in STAGES[stage]["params"]]
    assert keys(listed) == keys(read)


def keys(pairs):
    """Return the keys that (section, leaf) stand for: one, or all of the section."""
    found = set()
    for section, leaf in pairs:
        known = Params.model_fields[section].annotation.model_fields
        found |= {(section, key) for key in ([leaf] if leaf in known else known)}
    return found


def test_every_stage_and_the_model_say_what_they_are_for():
    assert all(stage["desc"] for stage in STAGES.values())
    (artifact,) = PIPELINE["artifacts"].values()
    assert artifact["path"] in STAGES["train"]["outs"]
    assert artifact["type"] == "model"


def test_every_output_is_either_cached_by_dvc_or_kept_in_git():
    for stage in STAGES.values():
        for out in [*stage["outs"], *stage.get("metrics", [])]:
            (path, flags) = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            in_git = path.startswith(("metrics/", "plots/"))
            assert flags == ({"cache": False} if in_git else {}), path
