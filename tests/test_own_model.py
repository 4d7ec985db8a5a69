"""A model of one's own is one file: all stages take it, and it reruns nobody else's."""

import json
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from sandbox import ran
from webpage import data_of, exported

PAGES = Path("docs/your-own.md").read_text().partition("## Your own model")[2]
MINE = re.search(r"```python\n(.*?)```", PAGES, re.DOTALL)[1]
FILE = "src/mnist_lstm/models/mine.py"


def test_a_file_of_another_model_reruns_nothing_and_its_own_what_reads_it(copy):
    for name in ("gru", "transformer", "mine"):
        with (copy.path / f"src/mnist_lstm/models/{name}.py").open("a") as file:
            file.write("# another word\n")
    assert "up to date" in copy.dvc("status")
    with (copy.path / "src/mnist_lstm/models/lstm.py").open("a") as file:
        file.write("# another word\n")
    stale = json.loads(copy.dvc("status", "--json"))
    assert list(stale) == ["describe", "train", "evaluate", "plot", "export"]


@pytest.mark.long
def test_the_model_in_the_docs_runs_to_the_end(copy, show):
    (copy.path / FILE).write_text(MINE)
    output = copy.dvc("exp", "run", "-S", "model.name=mine")
    assert ran(output) == ["describe", "train", "evaluate", "plot", "export"]
    changed = copy.git("status", "--porcelain", "src", "stages", "page", "dvc.yaml")
    assert changed == f"?? {FILE}\n"
    assert json.loads(copy.text("metrics/evaluate.json"))["test"]["accuracy"] > 0.15
    assert (copy.path / "plots/gates.png").stat().st_size < 20_000  # a line of text
    assert "read row by row by a convolution" in copy.text("models/README.md")

    data = data_of(exported(copy))
    tab = show(exported(copy))
    assert tab.title() == "Watch a convolution read it"
    assert tab.locator("#undo").is_hidden()
    example = data["examples"][0]
    tab.evaluate("app.pick(app.data.examples[0])")
    shown = tab.evaluate("app.reading.beliefs.at(-1)")
    assert shown == example["beliefs"][-1]
    greys = np.frombuffer(b64decode(example["pixels"]), np.uint8)
    session = onnxruntime.InferenceSession(copy.path / "models/model.onnx")
    x = greys.reshape(1, 28, 28).astype(np.float32) / 255
    logits = session.run(["logits"], {"x": x})[0][0]
    p = np.exp(logits - logits.max())
    np.testing.assert_allclose(p / p.sum(), shown, atol=2e-4)
