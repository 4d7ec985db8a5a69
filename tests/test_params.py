from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml as dvc_parse_yaml

from defaults import DEFAULT
from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.plumbing.params import load_params, parse_yaml

TEXT = Path("params.yaml").read_text()


@pytest.fixture
def write(tmp_path):
    """Write params.yaml with one key changed; return its path."""

    def write(key, value):
        values = yaml.safe_load(TEXT)
        section, _, leaf = key.rpartition(".")
        (values[section] if section else values)[leaf] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_every_key_has_a_comment():
    leaves = [line for line in TEXT.splitlines() if line.startswith("  ")]
    assert len(leaves) == sum(map(len, DEFAULT.values()))
    assert [line for line in leaves if " # " not in line] == []


BAD = [
    ("train", "fast", "a mapping"),
    ("data.name", "MNIST", "'mnist', 'fashion_mnist', "),
    ("prepare.valid_size", -1, "greater than or equal to 0"),
    ("model.hdim", 65537, "less than or equal to 65536"),
    ("model.hdim", 64.0, "a valid integer"),
    ("model.hdim", True, "a valid integer"),
    ("train.lr", 0, "greater than 0"),
    ("train.lr", float("nan"), "a finite number"),
    ("train.lr", "fast", "a valid number"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), BAD)
def test_a_bad_value_is_named_with_what_is_allowed(write, key, value, allowed):
    path = write(key, value)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {key} must be {allowed}")
    assert line.endswith(f", got {value!r}")


def test_all_that_is_wrong_is_named_at_once_with_the_key_that_was_meant(write):
    path = write("model.hidm", 64)
    path.write_text(path.read_text().replace("muon_lr: ", "1: -") + "zzz: 3\n")
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert str(caught.value).splitlines() == [
        f"{path}: model.hidm is not a parameter, got 64 (did you mean model.hdim?)",
        f"{path}: train.muon_lr is missing",
        f"{path}: train.1 is not a parameter, got 1 (did you mean train.lr?)",
        f"{path}: zzz is not a parameter, got 3",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not YAML"),
        ("a: 2001-99-99", "not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML: .*could not determine"),
        (f"{TEXT}\ntrain: 3", "not YAML: .*found duplicate key"),
        (TEXT + '"a\\nerror: b \\e[31m": 1\n', r"a\\nerror: b \\x1b\[31m is not a param"),
        ("", "the file must be a mapping, got None"),
        (None, "no such file; run this from the project's root"),
    ],
)
def test_a_file_that_holds_something_else_is_one_line(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ParamsError, match=message) as caught:
        load_params(path)
    (line,) = str(caught.value).splitlines()
    assert line.isprintable()


def test_the_stages_read_what_dvc_reads():
    """`dvc params diff` and `dvc.lock` must not show another number than the model has."""
    text = "[020, 0x10, 1_6, 1:30, 1e-5, 1.0e-05, yes, &a 16, '16']"
    assert parse_yaml(text, "")[:6] == [20, 16, 16, "1:30", 1e-5, 1e-5]
    assert repr(parse_yaml(text, "")) == repr(dvc_parse_yaml(text, ""))
