"""The example of docs/your-own.md on genuine sequences, and all that comes out of it."""

import json
import os
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mnist_lstm.data.tsfile import read_ts
from sandbox import create

GENUINE = Path(os.environ.get("DATA_MIRROR", "data")) / "sequences"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (GENUINE / "JapaneseVowels_TRAIN.ts").exists(),
        reason="no sequences/ in a folder that DATA_MIRROR names",
    ),
]


def test_the_example_reaches_what_the_page_says_and_onnx_reads_the_raw_files(tmp_path):
    """With the genuine files in the place of the wheel."""
    sandbox = create(tmp_path / "project", {})
    page = sandbox.text("docs/your-own.md").partition("<!-- vowels -->\n```bash\n")[2]
    install, first, second, remove, run = page.partition("\n```\n")[0].splitlines()
    assert (install.split()[0], remove) == ("pip", "rm -r aeon-wheel")
    copies = [
        re.sub(r"\S+/(\w+\.ts) ", rf"{GENUINE}/\1 ", line) for line in (first, second)
    ]
    output = sandbox.run("bash", "-ec", "\n".join([*copies, run]))
    assert "train: 270 sequences of 7 to 26 steps of 12 values" in output
    assert "sequences of 7 to 29 steps of 12 values" in sandbox.text("models/README.md")
    accuracy = json.loads(sandbox.text("metrics/evaluate.json"))["test"]["accuracy"]
    assert accuracy >= 0.97

    session = onnxruntime.InferenceSession(sandbox.path / "models/model.onnx")
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    right = []
    for values, label, _ in read_ts((sandbox.path / "own/test.ts").read_bytes()):
        x = np.full((1, len(values) + 3, 12), np.nan, np.float32)  # any padding
        x[0, : len(values)] = values
        lengths = np.array([len(values)])
        (logits,) = session.run(["logits"], {"x": x, "lengths": lengths})
        right.append(classes[logits[0].argmax()] == label)
    assert np.mean(right) == pytest.approx(accuracy, abs=1.5 / len(right))  # of bf16
