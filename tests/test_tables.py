import pandas as pd
import pytest

from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.tables import read_predictions, write_csv, write_json


def test_json_and_csv_have_short_floats_and_lines_that_end_in_lf(tmp_path):
    write_json(tmp_path / "metrics" / "m.json", {"a": {"b": 1 / 3}, "n": 821770})
    text = (tmp_path / "metrics" / "m.json").read_bytes()
    assert text == b'{\n  "a": {\n    "b": 0.333333\n  },\n  "n": 821770\n}\n'
    write_csv(tmp_path / "t.csv", pd.DataFrame({"epoch": [0, 1], "loss": [2 / 3, 0.5]}))
    assert (tmp_path / "t.csv").read_bytes() == b"epoch,loss\n0,0.666667\n1,0.5\n"


def test_names_are_read_as_they_are_spelt_and_of_other_examples_refused(tmp_path):
    names = ["01", "1.0", "NA", "nan", "True", "null", 'a,"b"', " c"]
    path = tmp_path / "t.csv"
    rows = {"actual": names, "predicted": names[::-1], "probability": 1 / 3}
    write_csv(path, pd.DataFrame(rows))
    table = read_predictions(path, names)
    assert table.actual.to_list() == table.predicted.to_list()[::-1] == names
    assert table.probability.to_list() == [0.333333] * 8
    with pytest.raises(UserError, match=r"t.csv: not of these test examples"):
        read_predictions(path, names[::-1])
