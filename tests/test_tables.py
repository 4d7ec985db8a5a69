import json

import pandas as pd

from mnist_lstm.tables import write_csv, write_json


def test_json_is_indented_and_its_floats_are_short(tmp_path):
    write_json(tmp_path / "metrics" / "m.json", {"a": {"b": 1 / 3}, "n": 821770})
    text = (tmp_path / "metrics" / "m.json").read_bytes()
    assert text == b'{\n  "a": {\n    "b": 0.333333\n  },\n  "n": 821770\n}\n'
    assert json.loads(text)["n"] == 821770


def test_csv_has_short_floats_and_lines_that_end_in_lf(tmp_path):
    write_csv(tmp_path / "t.csv", pd.DataFrame({"epoch": [0, 1], "loss": [2 / 3, 0.5]}))
    assert (tmp_path / "t.csv").read_bytes() == b"epoch,loss\n0,0.666667\n1,0.5\n"
