"""Feed the readers of tables: ``python tests/fuzz/tables.py 50000``.

What is accepted has the labels of the test images, and numbers where they belong.
"""

import sys
import tempfile
from pathlib import Path

import torch
from damage import damaged
from feeding import feed
from hypothesis import strategies as st

from mnist_lstm.results import read_history, read_predictions
from mnist_lstm.splits import Split

LABELS = torch.arange(12) % 10
SPLIT = Split(torch.zeros(12, 2, 2).byte(), LABELS, tuple("0123456789"))
PREDICTIONS = "actual,predicted,probability\n" + "".join(
    f"{y},{(y + i % 2) % 10},0.{i}5\n" for i, y in enumerate(LABELS.tolist())
)
HISTORY = (
    "heldout,epoch,train_loss,train_accuracy,heldout_loss,heldout_accuracy\n"
    + "".join(f"test,{i},0.{i},0.5,1.5,1.0\n" for i in range(5))
)
CELLS = st.sampled_from(
    ["0", "77", "-1", "1.0", "1e400", "nan", "inf", "", " 1", "one", "0x1", "True", "1_0"]
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Return a table with rows exchanged and cells replaced."""
    rows = [
        line.split(",") for line in draw(st.sampled_from([PREDICTIONS, HISTORY])).split()
    ]
    for _ in range(draw(st.integers(0, 3))):
        one, two = (draw(st.integers(0, len(rows) - 1)) for _ in range(2))
        rows[one], rows[two] = rows[two], rows[one]
    for _ in range(draw(st.integers(0, 2))):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(CELLS)
    return "\n".join(map(",".join, rows)).encode()


def main(n: int) -> None:
    """Feed both readers ``n`` files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"

        def read(content: bytes) -> None:
            path.write_bytes(content)
            if b"heldout" in content:
                history = read_history(path)
                assert history.epoch.tolist() == list(range(len(history)))
            else:
                table = read_predictions(path, SPLIT)
                assert table.actual.tolist() == [str(y) for y in LABELS.tolist()]
                assert table.probability.between(0, 1).all()

        feed(n, damaged(tables(), most=2), read)


if __name__ == "__main__":
    main(int(sys.argv[1]))
