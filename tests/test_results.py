import json
import time

import pandas as pd
import pytest
import torch

from mnist_lstm.plumbing.errors import OutputError, TableError
from mnist_lstm.results import read_history, read_metrics, read_predictions
from mnist_lstm.splits import Split
from mnist_lstm.tables import write_csv

HISTORY = (
    "heldout,epoch,train_loss,train_accuracy,heldout_loss,heldout_accuracy\n"
    "test,0,2.3,0.1,2.3,0.1\n"
    "test,1,0.5,0.9,0.4,0.95\n"
)


@pytest.fixture
def predictions(split):
    """Every third prediction is wrong."""
    labels = split.labels.tolist()
    predicted = [(y + (i % 3 == 0)) % 10 for i, y in enumerate(labels)]
    rows = zip(labels, predicted, [0.5] * len(labels), strict=True)
    lines = ["actual,predicted,probability", *(",".join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def test_names_are_read_as_they_are_spelt(tmp_path):
    names = ("01", "1.0", "NA", "nan", "True", "null", 'a,"b"', " c")
    test = Split(torch.zeros(8, 1, 1).byte(), torch.arange(8), names)
    path = tmp_path / "t.csv"
    rows = {"actual": names, "predicted": names, "probability": 0.5}
    write_csv(path, pd.DataFrame(rows))
    table = read_predictions(path, test)
    assert tuple(table.actual) == tuple(table.predicted) == names
    assert table.probability.to_list() == [0.5] * 8


def test_the_tables_come_back_as_numbers(tmp_path, split, predictions):
    path = tmp_path / "t.csv"
    path.write_text(predictions)
    table = read_predictions(path, split)
    assert table.actual.tolist() == [str(label) for label in split.labels.tolist()]
    assert (table.actual != table.predicted).sum() == 20
    path.write_text(HISTORY)
    assert read_history(path).heldout_accuracy.tolist() == [0.1, 0.95]
    pd.testing.assert_frame_equal(read_history(path), pd.read_csv(path))
    path.write_text(HISTORY.replace("\n", ",more\n"))  # a column of the user's own
    pd.testing.assert_frame_equal(read_history(path), pd.read_csv(path).iloc[:, :-1])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file; the stage `train` writes it"),
        (b"", "incomplete table, expected columns heldout, epoch"),
        (b"\xff\xfe\x00", "not a table: 'utf-8' codec can't decode"),
        (HISTORY.replace("0.4,", '"0.4,').encode(), "not a table: unexpected end of data"),
        (HISTORY.encode() + b"test,2,0.5\n", "incomplete table"),
        (HISTORY.replace("epoch", "epoch,epoch").encode(), "incomplete table"),
        (",".join(map(str, range(300_000))).encode(), "incomplete table"),
        (b"\n".join([HISTORY.encode(), b"," * 2_000_000]), "incomplete table"),
        (HISTORY.encode() + b"," * 2**23, "not a table: 8,388,"),
        (HISTORY.splitlines()[0].encode(), "incomplete table, expected columns heldout, e"),
        (b"epoch\n1\n", "incomplete table, expected columns heldout, epoch, train_loss,"),
        (HISTORY.replace("test,", "0,test,").encode(), "incomplete table"),
        (b"a\x1b[31m\nerror: x\n", "incomplete table"),
    ],
)
def test_a_damaged_table_is_one_line_that_names_it(tmp_path, content, found):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    began = time.process_time()
    with pytest.raises(TableError) as caught:
        read_history(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {found}")
    assert line.isprintable()
    assert time.process_time() - began < 2


def test_a_folder_in_its_place_is_one_line(tmp_path):
    with pytest.raises(TableError, match="Is a directory"):
        read_history(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (",0.4,", ",high,", "line 3: heldout_loss is 'high', expected a number >= 0"),
        (",0.4,", ",,", "line 3: heldout_loss is '', expected a number >= 0"),
        (",0.4,", ",nan,", "line 3: heldout_loss is 'nan', expected a number >= 0"),
        (",0.4,", ",inf,", "line 3: heldout_loss is 'inf', expected a number >= 0"),
        (",0.4,", ",-1,", "line 3: heldout_loss is '-1', expected a number >= 0"),
        (",0.95", ",95", "line 3: heldout_accuracy is '95', expected a number from 0 to 1"),
        (
            "test,1",
            "test,2",
            "line 3: epoch is '2', expected one more than in the line abov",
        ),
        (
            "test,1",
            "valid,1",
            "line 3: heldout is 'valid', expected valid or test, the sam",
        ),
        (
            "test",
            "dev",
            "line 2: heldout is 'dev', expected valid or test, the same in each",
        ),
        (
            "test,0",
            '"x\ny",0',
            r"line 2: heldout is 'x\ny', expected valid or test, the s",
        ),
    ],
)
def test_a_history_that_cannot_be_is_refused_with_its_line(tmp_path, old, new, found):
    path = tmp_path / "history.csv"
    assert old in HISTORY
    path.write_text(HISTORY.replace(old, new))
    with pytest.raises(TableError) as caught:
        read_history(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {found}")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (
            "\n1,1,0.5",
            "\n77,1,0.5",
            "line 3: actual is '77', expected the class of the test",
        ),
        ("\n1,1,0.5", "\none,1,0.5", "line 3: actual is 'one', expected the class"),
        (
            "\n1,1,0.5",
            "\n1,77,0.5",
            "line 3: predicted is '77', expected a class of the test",
        ),
        ("\n1,1,0.5", "\n1,,0.5", "line 3: predicted is '', expected a class of the test"),
        ("\n1,1,0.5", "\n1,1.5,0.5", "line 3: predicted is '1.5', expected a class of"),
        (
            "\n1,1,0.5",
            "\n1,1,50%",
            "line 3: probability is '50%', expected a number from 0 to",
        ),
        (
            "\n1,1,0.5",
            "\n1,1,nan",
            "line 3: probability is 'nan', expected a number from 0 to",
        ),
        # two rows exchanged
        ("\n1,1,0.5\n2,2,0.5", "\n2,2,0.5\n1,1,0.5", "line 3: actual is '2', expected the"),
        ("\n1,1,0.5", "", "59 rows for 60 test images; the stage `evaluate` writes it"),
    ],
)
def test_predictions_of_other_images_are_refused_with_their_line(
    tmp_path, split, predictions, old, new, found
):
    path = tmp_path / "predictions.csv"
    assert old in predictions
    path.write_text(predictions.replace(old, new, 1))
    with pytest.raises(TableError) as caught:
        read_predictions(path, split)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {found}")


PREDICTED = pd.DataFrame({"actual": list("aabb"), "predicted": list("abbb")})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file; the stage `evaluate` writes it"),
        (b"\xff", "no train.accuracy in it; the stage `evaluate` writes it"),
        (b"[]", "no train.accuracy in it"),
        (b"[" * 60_000, "no train.accuracy in it"),
        (b'{"train": {"accuracy": 0.5, "loss": 2}}', "no test.accuracy in it"),
        (
            b'{"train": {"accuracy": 1, "loss": 2}, "test": {"accuracy": 1, "loss": "x"}}',
            "test.loss is 'x', expected a number >= 0; the stage `evaluate` writes it",
        ),
    ],
    ids=range(6),
)
def test_damaged_metrics_are_one_line_that_names_them(tmp_path, content, found):
    path = tmp_path / "m.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OutputError) as caught:
        read_metrics(path, ["train", "test"], PREDICTED)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {found}")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["accuracy", "loss"])
@pytest.mark.parametrize(
    "value",
    ["NaN", "-3", "true", "null", '"1"', "[[]]", "Infinity", "1" + "0" * 400, "1e999"],
)
def test_a_metric_that_cannot_be_is_refused_by_name(tmp_path, split, name, value):
    path = tmp_path / "m.json"
    metrics = {key: {"accuracy": 0.75, "loss": 2} for key in ("train", "test")}
    metrics[split][name] = "here"
    path.write_text(json.dumps(metrics).replace('"here"', value))
    with pytest.raises(OutputError) as caught:
        read_metrics(path, ["train", "test"], PREDICTED)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {split}.{name} is ")
    assert "expected a number" in line


@pytest.mark.parametrize("accuracy", [0.5, 0.75002, 1])
def test_an_accuracy_that_the_predictions_do_not_have_is_refused(tmp_path, accuracy):
    (tmp_path / "m.json").write_text(f'{{"test": {{"loss": 2, "accuracy": {accuracy}}}}}')
    with pytest.raises(OutputError, match=r"expected 0.750000, as in the predictions"):
        read_metrics(tmp_path / "m.json", ["test"], PREDICTED)


def test_metrics_are_read_by_split(tmp_path):
    (tmp_path / "m.json").write_text('{"test": {"loss": 2, "accuracy": 0.75}, "more": 1}')
    found = read_metrics(tmp_path / "m.json", ["test"], PREDICTED)
    assert found == {"test": {"accuracy": 0.75, "loss": 2.0}}
