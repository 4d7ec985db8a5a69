import re
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


@pytest.mark.parametrize("text", ["1e-05", "1e-5", "1E-5", "1.0e-05", "0.00001"])
def test_a_float_as_dvc_writes_it_is_a_float(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"\blr: \S+", f"lr: {text}", TEXT))
    assert load_params(path).train.lr == 1e-5


BAD = [
    ("train", "fast", "a mapping"),
    ("data.name", "MNIST", "'mnist', 'fashion_mnist', "),
    ("prepare.valid_size", -1, "greater than or equal to 0"),
    ("prepare.test_size", 1.0, "less than 1"),
    ("model.hdim", 0, "greater than or equal to 1"),
    ("model.hdim", 65537, "less than or equal to 65536"),
    ("model.hdim", 64.0, "a valid integer"),
    ("model.hdim", True, "a valid integer"),
    ("model.dropout", 1, "less than 1"),
    ("train.seed", 2**32, "less than 4294967296"),
    ("train.lr", 0, "greater than 0"),
    ("train.lr", float("nan"), "a finite number"),
    ("train.lr", 1e37, "less than 1"),
    ("train.lr", "fast", "a valid number"),
    ("plot.n_sample", 101, "less than or equal to 100"),
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
        ("[" * 900, "not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML: .*could not determine"),
        (f"{TEXT}\ntrain: 3", "not YAML: .*found duplicate key"),
        (TEXT.encode("utf-16"), "not YAML: unacceptable character"),
        (TEXT + '"a\\nerror: b \\e[31m": 1\n', r"a\\nerror: b \\x1b\[31m is not a param"),
        (re.sub(r"\blr: \S+", f"lr: {'x' * 900}", TEXT), r"lr must be .*xxx\.\.\.xxx"),
        ("", "the file must be a mapping, got None"),
        (None, "no such file; run this from the project's root"),
    ],
)
def test_a_file_that_holds_something_else_is_one_line(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ParamsError, match=message) as caught:
        load_params(path)
    (line,) = str(caught.value).splitlines()
    assert line.isprintable()


def test_the_stages_read_what_dvc_reads():
    """`dvc params diff` and `dvc.lock` must not show another number than the model has."""
    text = "[020, 0x10, 1_6, 1:30, yes, &a 16, '16']"
    assert parse_yaml(text, "")[:4] == [20, 16, 16, "1:30"]
    assert repr(parse_yaml(text, "")) == repr(dvc_parse_yaml(text, ""))
