import re
import subprocess
from pathlib import Path

import pytest
import yaml

import project
from mnist_lstm import params
from mnist_lstm.params import ParamsError

DEFAULT = Path("params.yaml").read_text()


@pytest.fixture
def write(tmp_path):
    """Write params.yaml with one key changed; return its path."""

    def write(key=None, value=None, delete=False):
        values = yaml.safe_load(DEFAULT)
        if key:
            *sections, leaf = key.split(".")
            at = values
            for section in sections:
                at = at[section]
            at[leaf] = value
            if delete:
                del at[leaf]
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_the_committed_defaults_are_the_notebooks_run(tmp_path):
    """Whatever experiment stands in the working tree."""
    path = tmp_path / "params.yaml"
    show = ["git", "show", "HEAD:params.yaml"]
    path.write_text(subprocess.run(show, check=True, capture_output=True, text=True).stdout)
    assert params.load(path).model_dump() == project.DEFAULT


def test_every_key_has_a_comment():
    lines = DEFAULT.splitlines()
    leaves = [line for line in lines if line.startswith("  ")]
    assert len(leaves) == 14
    assert [line for line in leaves if "  # " not in line] == []


@pytest.mark.parametrize("text", ["1e-05", "1e-5", "1E-5", "1.0e-05", "0.00001"])
def test_a_float_as_dvc_writes_it_is_a_float(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"lr: \S+", f"lr: {text}", DEFAULT))
    assert params.load(path).train.lr == 1e-5


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("data.name", "cifar", "one of mnist, fashion_mnist, kmnist, digits"),
        ("data.name", 3, "one of mnist"),
        ("prepare.valid_size", -1, "a whole number >= 0"),
        ("prepare.valid_size", 0.5, "a whole number >= 0"),
        ("prepare.seed", 2**32, "a whole number from 0 to 4294967295"),
        ("model.hdim", 0, "a whole number from 1 to 65536"),
        ("model.hdim", 10**25, "a whole number from 1 to 65536"),
        ("model.hdim", "64", "a whole number from 1 to 65536"),
        ("model.hdim", True, "a whole number from 1 to 65536"),
        ("model.hdim", 64.0, "a whole number from 1 to 65536"),
        ("model.n_layer", None, "a whole number from 1 to 65536"),
        ("model.xdim", [28], "a whole number from 1 to 65536"),
        ("train.lr", -0.001, "a number > 0"),
        ("train.lr", 0, "a number > 0"),
        ("train.lr", float("nan"), "a number > 0"),
        ("train.lr", float("inf"), "a number > 0"),
        ("train.lr", "fast", "a number > 0"),
        ("train.epochs", 0, "a whole number from 1 to 65536"),
        ("train.batch_size", 0, "a whole number from 1 to 65536"),
        ("train.device", "gpu", "one of auto, cpu, cuda"),
        ("plot.n_sample", 101, "a whole number from 1 to 100"),
        ("plot.seed", -1, "a whole number from 0"),
        ("model", 3, "a mapping with xdim, hdim, ydim, n_layer"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(write, key, value, allowed):
    path = write(key, value)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {key} must be {allowed}")
    assert line.endswith(f"got {value!r}")


def test_an_unknown_key_is_named_with_the_one_that_was_meant(write):
    path = write("model.hidm", 64)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    assert str(caught.value) == (
        f"{path}: model.hidm is not a parameter, got 64 (did you mean model.hdim?)"
    )


def test_a_key_unlike_any_other_is_told_which_there_are(write):
    with pytest.raises(
        ParamsError, match=r"zzz is not a parameter, got 1 \(known: data.name, "
    ):
        params.load(write("zzz", 1))


@pytest.mark.parametrize("section", [None, "model"])
def test_a_key_that_is_no_word_is_refused(tmp_path, section):
    values = yaml.safe_load(DEFAULT)
    (values[section] if section else values)[1] = 2
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ParamsError, match=r"1 is not a parameter") as caught:
        params.load(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_key_is_named(write):
    path = write("train.lr", delete=True)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    assert str(caught.value) == f"{path}: train.lr is missing, must be a number > 0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("a: 2001-99-99", "not YAML"),
        ("", "the file must be a mapping"),
        ("7", "the file must be a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_line(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=message) as caught:
        params.load(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(ParamsError, match="run this from the project's root"):
        params.load(tmp_path / "params.yaml")
