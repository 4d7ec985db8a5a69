import datetime
import re
import time
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

    def write(key=None, value=None, delete=False):
        values = yaml.safe_load(TEXT)
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
    path.write_text(yaml.safe_dump(DEFAULT))
    params = load_params(path)
    assert (params.data.name, params.prepare.valid_size) == ("mnist", 0)
    assert params.prepare.valid_split == "random"
    assert (params.model.hdim, params.model.n_layer) == (256, 2)
    assert (params.model.init, params.model.dropout) == ("pytorch", 0)
    assert (params.train.lr, params.train.batch_size, params.train.epochs) == (1e-3, 256, 5)
    assert (params.train.optimizer, params.train.epoch_size) == ("adamw", 0)
    assert (params.train.schedule, params.train.weight_decay) == ("constant", 0)
    assert (params.train.beta1, params.train.beta2) == (0.9, 0.999)
    off = ("clip", "label_smoothing", "ema")
    assert [getattr(params.train, name) for name in off] == [0, 0, 0]
    assert set(params.augment.model_dump().values()) == {0}


def test_every_key_has_a_comment():
    lines = TEXT.splitlines()
    leaves = [line for line in lines if line.startswith("  ")]
    assert len(leaves) == sum(map(len, DEFAULT.values()))
    assert [line for line in leaves if "  # " not in line] == []


@pytest.mark.parametrize("text", ["1e-05", "1e-5", "1E-5", "1.0e-05", "0.00001"])
def test_a_float_as_dvc_writes_it_is_a_float(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"\blr: \S+", f"lr: {text}", TEXT))
    assert load_params(path).train.lr == 1e-5


COUNT = "a whole number from 1 to 65536"
SIZE = "a whole number >= 0"
SEED = "a whole number from 0 to 4294967295"
RATE = "a number > 0 and < 1e37"
AMOUNT = "a number >= 0 and < 1e37"
SHARE = "a number from 0 to below 1"
PART = "a number between 0 and 1"
BAD = [
    ("data", None, "a mapping with name"),
    ("data", "mnist", "a mapping with name"),
    ("data.name", "cifar", "one of mnist, fashion_mnist, kmnist, digits, own"),
    ("data.name", "MNIST", "one of mnist, fashion_mnist, kmnist, digits, own"),
    ("data.name", "", "one of mnist, fashion_mnist, kmnist, digits, own"),
    ("data.name", 3, "one of mnist, fashion_mnist, kmnist, digits, own"),
    ("data.name", None, "one of mnist, fashion_mnist, kmnist, digits, own"),
    ("data.name", ["mnist"], "one of mnist, fashion_mnist, kmnist, digits, own"),
    (
        "prepare",
        [],
        "a mapping with valid_size, valid_split, test_size, seed, picture, height, width",
    ),
    ("prepare.valid_size", -1, SIZE),
    ("prepare.valid_size", 0.5, SIZE),
    ("prepare.valid_size", "5000", SIZE),
    ("prepare.valid_size", True, SIZE),
    ("prepare.valid_size", None, SIZE),
    ("prepare.valid_split", "writers", "one of random, last"),
    ("prepare.valid_split", False, "one of random, last"),
    ("prepare.test_size", 0, PART),
    ("prepare.test_size", 1, PART),
    ("prepare.test_size", 1.0, PART),
    ("prepare.test_size", "20%", PART),
    ("prepare.picture", "photo", "one of mnist, scale"),
    ("prepare.picture", True, "one of mnist, scale"),
    ("prepare.height", 0, COUNT),
    ("prepare.width", 28.5, COUNT),
    ("prepare.width", [28, 28], COUNT),
    ("prepare.seed", -1, SEED),
    ("prepare.seed", 2**32, SEED),
    ("prepare.seed", 1.5, SEED),
    ("prepare.seed", "zero", SEED),
    ("model", 3, "a mapping with xdim, hdim, ydim, n_layer, dropout, init"),
    ("model.xdim", [28], COUNT),
    ("model.xdim", 0, COUNT),
    ("model.xdim", {"width": 28}, COUNT),
    ("model.hdim", 0, COUNT),
    ("model.hdim", -256, COUNT),
    ("model.hdim", 65537, COUNT),
    ("model.hdim", 10**25, COUNT),
    ("model.hdim", "64", COUNT),
    ("model.hdim", True, COUNT),
    ("model.hdim", 64.0, COUNT),
    ("model.ydim", 0, COUNT),
    ("model.ydim", float("inf"), COUNT),
    ("model.n_layer", None, COUNT),
    ("model.n_layer", 0, COUNT),
    ("model.n_layer", datetime.date(2026, 1, 2), COUNT),
    ("model.dropout", 1, SHARE),
    ("model.init", "glorot", "one of pytorch, keras"),
    ("model.dropout", -0.1, SHARE),
    (
        "train",
        "fast",
        "a mapping with epochs, epoch_size, batch_size, shards, optimizer, lr, schedule, "
        "warmup, final_lr, beta1, beta2, weight_decay, muon_lr, momentum, clip, "
        "label_smoothing, ema, seed, device, precision",
    ),
    ("train.epochs", 0, COUNT),
    ("train.epochs", -5, COUNT),
    ("train.epochs", 2.5, COUNT),
    ("train.epochs", "5 epochs", COUNT),
    ("train.epoch_size", -1, SIZE),
    ("train.epoch_size", 0.5, SIZE),
    ("train.batch_size", 0, COUNT),
    ("train.batch_size", 70000, COUNT),
    ("train.batch_size", "auto", COUNT),
    ("train.shards", 0, COUNT),
    ("train.shards", 2.0, COUNT),
    ("train.optimizer", "Muon", "one of adamw, muon"),
    ("train.optimizer", None, "one of adamw, muon"),
    ("train.lr", -0.001, RATE),
    ("train.lr", 0, RATE),
    ("train.lr", float("nan"), RATE),
    ("train.lr", float("inf"), RATE),
    ("train.lr", -float("inf"), RATE),
    ("train.lr", 1e37, RATE),
    ("train.lr", "fast", RATE),
    ("train.lr", True, RATE),
    ("train.lr", None, RATE),
    ("train.lr", [0.001], RATE),
    ("train.schedule", "cosine", "one of constant, one_cycle"),
    ("train.warmup", 1, SHARE),
    ("train.final_lr", -1e-5, AMOUNT),
    ("train.beta1", 1, SHARE),
    ("train.beta2", float("nan"), SHARE),
    ("train.weight_decay", -0.01, AMOUNT),
    ("train.muon_lr", 0, RATE),
    ("train.momentum", 1, SHARE),
    ("train.momentum", -0.9, SHARE),
    ("train.clip", "1.0", AMOUNT),
    ("train.clip", float("inf"), AMOUNT),
    ("train.label_smoothing", 1.0, SHARE),
    ("train.ema", 1, SHARE),
    ("train.ema", True, SHARE),
    ("train.seed", -1, SEED),
    ("train.seed", "0", SEED),
    ("train.device", "gpu", "one of auto, cpu, cuda"),
    ("train.device", "cuda:0", "one of auto, cpu, cuda"),
    ("train.device", 0, "one of auto, cpu, cuda"),
    ("train.device", None, "one of auto, cpu, cuda"),
    ("train.precision", "fp16", "one of auto, fp32, bf16"),
    ("train.precision", 32, "one of auto, fp32, bf16"),
    ("augment", None, "a mapping with rotation, scale, shear, shift, elastic, fade"),
    ("augment.rotation", 181, "a number from 0 to 180"),
    ("augment.scale", 1, SHARE),
    ("augment.shear", -0.1, AMOUNT),
    ("augment.shift", -0.1, SHARE),
    ("augment.elastic", 1e37, AMOUNT),
    ("augment.fade", 1, SHARE),
    ("plot", False, "a mapping with n_sample, seed"),
    ("plot.n_sample", 0, "a whole number from 1 to 100"),
    ("plot.n_sample", 101, "a whole number from 1 to 100"),
    ("plot.n_sample", "all", "a whole number from 1 to 100"),
    ("plot.n_sample", 25.0, "a whole number from 1 to 100"),
    ("plot.seed", -1, SEED),
    ("plot.seed", None, SEED),
]


def test_the_table_has_bad_values_for_every_key():
    leaves = {f"{section}.{leaf}" for section in DEFAULT for leaf in DEFAULT[section]}
    assert leaves <= {key for key, _, _ in BAD}


@pytest.mark.parametrize(("key", "value", "allowed"), BAD)
def test_a_bad_value_is_named_with_what_is_allowed(write, key, value, allowed):
    path = write(key, value)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    (line,) = str(caught.value).splitlines()
    assert line == f"{path}: {key} must be {allowed}, got {value!r}"


def test_an_unknown_key_is_named_with_the_one_that_was_meant(write):
    path = write("model.hidm", 64)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert str(caught.value) == (
        f"{path}: model.hidm is not a parameter, got 64 (did you mean model.hdim?)"
    )


def test_a_key_unlike_any_other_is_told_which_there_are(write):
    with pytest.raises(
        ParamsError, match=r"zzz is not a parameter, got 1 \(known: data.name, "
    ):
        load_params(write("zzz", 1))


@pytest.mark.parametrize("section", [None, "model"])
def test_a_key_that_is_no_word_is_refused(tmp_path, section):
    values = yaml.safe_load(TEXT)
    (values[section] if section else values)[1] = 2
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ParamsError, match=r"1 is not a parameter") as caught:
        load_params(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_key_is_named(write):
    path = write("train.lr", delete=True)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert str(caught.value) == f"{path}: train.lr is missing, must be {RATE}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("a: 2001-99-99", "not YAML"),
        ("[" * 20_000, "20,000 characters, in the file or a line, are more than"),
        ("[" * 900, "not YAML"),
        ("[\n" * 20_000, "not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML: .*could not determine"),
        ("a: \0", "not YAML"),
        (f"{TEXT}\ntrain: 3", "not YAML: .*found duplicate key"),
        (TEXT.replace("  lr:", "  lr: 2\n  lr:"), "not YAML: .*found duplicate key"),
        ("", "empty; `git checkout HEAD -- .*` takes the committed one"),
        ("# all gone\n---\n", "empty; `git checkout HEAD -- "),
        ("x" * 70_000, "70,000 characters, in the file or a line, are more"),
        ("7", "the file must be a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_line(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=message) as caught:
        load_params(path)
    assert len(str(caught.value).splitlines()) == 1


NUMBERS = [
    "0",
    "1",
    "7",
    "8",
    "16",
    "20",
    "017",
    "020",
    "010",
    "0008",
    "00",
    "1_000",
    "1__0",
]
NUMBERS += [
    "_1",
    "1_",
    "0o17",
    "0o18",
    "0O17",
    "0x1F",
    "0x1f",
    "0X1F",
    "0xg",
    "0b101",
    "0b2",
]
NUMBERS += ["0B101", "1:30", "1:30:00", "190:20:30", "1:30.5", "01:30", "60:00", "1.", ".5"]
NUMBERS += ["1.0", "16.0", "1.5", "1e3", "1E3", "1e+3", "1e-3", "1.e3", ".1e3", "1e", "e3"]
NUMBERS += ["1e-05", "1.0e-05", "1_0.5", "1e1_0", "0.1e-2", "01.5", "00.5", "0e0", "1d3"]
NUMBERS += ["١", "１６", "½", "1,000", "1 000", "16 ", "9" * 30, "0x" + "f" * 30, "1e400"]  # noqa: RUF001
WORDS = [".inf", ".Inf", ".INF", "inf", "Infinity", ".nan", ".NaN", ".NAN", "nan", "NaN"]
WORDS += ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "y", "Y", "t", "false"]
WORDS += ["False", "no", "No", "NO", "off", "OFF", "n", "N", "null", "Null", "NULL", "~"]
WORDS += [
    "tRUE",
    "TrUe",
    "nULL",
    ".iNF",
    "none",
    "None",
    "",
    "nil",
    "undefined",
    "=",
    "<<",
    "-",
    "?",
    ".",
    "..",
    "*",
]
DATES = ["2026-11-25", "2026-1-2", "2026-11-25T10:00:00Z", "2026-11-25 10:00:00", "10:00"]
DATES += ["2001-12-14t21:59:43.10-05:00", "2026-99-99", "26-11-25", "2026-11", "2026/11/25"]
OTHERS = [
    "'16'",
    '"16"',
    "'020'",
    '"\\x31"',
    '"\\u0031"',
    "''",
    '""',
    "!!int 16",
    "!!int 020",
]
OTHERS += [
    "!!int '16'",
    "!!float 16",
    "!!float 1e-5",
    "!!str 16",
    "!!bool yes",
    "!!null ''",
]
OTHERS += [
    "!!int 1:30",
    "!!binary MTY=",
    "!16",
    "!int 16",
    "&a 16",
    "&a 020",
    "!!int &a 16",
]
OTHERS += [
    "[16]",
    "[]",
    "{}",
    "{a: 16}",
    "|\n    16",
    ">\n    16",
    ">-\n    020",
    "|-\n    16",
]
OTHERS += [
    "16 # units",
    "16#units",
    "  16",
    "\t16",
    "16\t",
    "16\r",
    "!!set {16}",
    "!!omap []",
]
OTHERS += [
    "\n    16",
    "\n    - 16",
    "0\n    16",
    "\ufeff16",
    "16\u00a0",
    "16\u2028",
    "%16",
    "@16",
]
PLAIN = [*NUMBERS, *WORDS, *DATES]
SPELLINGS = [*PLAIN, *("-" + n for n in NUMBERS), *("+" + n for n in NUMBERS), *OTHERS]
SPELLINGS += ["-.inf", "+.inf", "-.5", "- 1", "--1", "+-1", "-~", "+true", "-0x1F", "0x-1F"]
DOCUMENTS = [
    "{}",
    "%YAML 1.1\n---\n{}",
    "%YAML 1.2\n---\n{}",
    "--- # one\n{}\n...\n",
    "\ufeff{}",
]


def theirs(text):
    """Return what DVC reads, or an error where it reads nothing."""
    try:
        return repr(dvc_parse_yaml(text, "params.yaml"))
    except Exception as error:  # its own, and what its reader meets
        return error


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_stages_read_what_dvc_reads_or_refuse_it(spelling):
    """`dvc params diff` and `dvc.lock` must not show another number than the model has."""
    for document in DOCUMENTS:
        text = document.replace("{}", f"x: {spelling}")
        try:
            ours = repr(parse_yaml(text, "params.yaml"))
        except ParamsError as error:
            (line,) = str(error).splitlines()
            assert line.startswith("params.yaml: ")
            assert line.isprintable()
        else:
            assert ours == theirs(text)


def test_the_table_of_spellings_is_long_and_most_of_them_are_read():
    assert len(set(SPELLINGS)) >= 300
    assert sum(isinstance(theirs(f"x: {spelling}"), str) for spelling in SPELLINGS) > 250


@pytest.mark.parametrize(
    ("spelling", "value"),
    [("020", 20), ("0x10", 16), ("0o20", 16), ("1_6", 16), ("+16", 16), ("!!int '16'", 16)],
)
def test_a_whole_number_is_read_as_yaml_1_2_has_it(tmp_path, spelling, value):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"hdim: \S+", f"hdim: {spelling}", TEXT))
    assert load_params(path).model.hdim == value


@pytest.mark.parametrize("spelling", ["1:30", "0b1_2", "'16'", "yes", "2026-11-25", "16.0"])
def test_what_is_no_whole_number_there_is_refused(tmp_path, spelling):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"hdim: \S+", f"hdim: {spelling}", TEXT))
    with pytest.raises(ParamsError, match=r"model\.hdim must be a whole number from 1"):
        load_params(path)


@pytest.mark.parametrize("merge", ["<<", "!!merge x", "? <<\n  "])
def test_mappings_merged_into_each_other_are_refused_at_once(tmp_path, merge):
    """To read them takes twice as long with each line: here, a million years."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i}\n  {merge}: [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(lines))
    start = time.monotonic()
    with pytest.raises(ParamsError, match=r"line \d+: `<<` is not read here"):
        load_params(path)
    assert time.monotonic() - start < 1


def test_a_bomb_of_aliases_is_told_in_short(tmp_path):
    lines = [
        "a0: &a0 [lol]",
        *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)),
    ]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(lines))
    start = time.monotonic()
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert time.monotonic() - start < 1
    assert max(map(len, str(caught.value).splitlines())) < 1100


def test_a_value_that_holds_itself_is_told_in_short(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"\blr: \S+", "lr: &a [*a]", TEXT))
    with pytest.raises(ParamsError, match=r"got \[\["):
        load_params(path)


def test_what_stands_in_the_file_never_looks_like_our_own_lines(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT + '"a\\nerror: b \\e[31m": 1\n')
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    (line,) = str(caught.value).splitlines()
    assert line.isprintable()


LONG = 'epochs: !!int "0x\\\n' + 9 * f"    {'f' * 900}\\\n" + '"'


def test_a_number_of_thousands_of_digits_is_told_in_short(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"epochs: \S+", lambda _: LONG, TEXT))
    with pytest.raises(ParamsError, match="got a number too long to write"):
        load_params(path)


def test_a_value_of_any_length_is_told_in_short(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"\blr: \S+", f"lr: {'x' * 900}", TEXT))
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert len(str(caught.value)) < 300


def test_a_file_in_no_known_encoding_is_one_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(TEXT.encode("utf-16"))
    with pytest.raises(ParamsError, match="not YAML: 'utf-8' codec can't decode"):
        load_params(path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(ParamsError, match="run this from the project's root"):
        load_params(tmp_path / "params.yaml")
