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


@pytest.fixture(scope="module")
def vowels(tmp_path_factory):
    """The project after the example, with the genuine files in the place of the wheel."""
    sandbox = create(tmp_path_factory.mktemp("vowels") / "project", {})
    page = sandbox.text("docs/your-own.md").partition("<!-- vowels -->\n```bash\n")[2]
    commands = page.partition("\n```\n")[0]
    install, first, second, remove, run = commands.splitlines()
    assert (install.split()[0], remove) == ("pip", "rm -r aeon-wheel")
    copies = [
        re.sub(r"\S+/(\w+\.ts) ", rf"{GENUINE}/\1 ", line) for line in (first, second)
    ]
    sandbox.output = sandbox.run("bash", "-ec", "\n".join([*copies, run]))
    return sandbox


def test_the_example_reaches_what_the_page_says(vowels):
    assert "train: 270 sequences of 7 to 26 steps of 12 values" in vowels.output
    metrics = json.loads(vowels.text("metrics/evaluate.json"))
    assert metrics["test"]["accuracy"] >= 0.97


def test_onnx_reads_the_raw_files_as_the_pipeline_did(vowels):
    examples = read_ts((vowels.path / "own/test.ts").read_bytes())
    session = onnxruntime.InferenceSession(vowels.path / "models/model.onnx")
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    right = []
    for values, label, _ in examples:
        x = np.full((1, len(values) + 3, 12), np.nan, np.float32)  # any padding
        x[0, : len(values)] = values
        lengths = np.array([len(values)])
        (logits,) = session.run(["logits"], {"x": x, "lengths": lengths})
        right.append(classes[logits[0].argmax()] == label)
    expected = json.loads(vowels.text("metrics/evaluate.json"))["test"]["accuracy"]
    assert np.mean(right) == pytest.approx(expected, abs=1.5 / len(right))  # of bf16
    assert "sequences of 7 to 29 steps of 12 values" in vowels.text("models/README.md")
