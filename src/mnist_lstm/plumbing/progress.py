"""Progress bars: what they show, and where. None is drawn where output is no terminal."""

import math
import sys
from typing import Any

from tqdm import tqdm


def bar(total: int | None, title: str, unit: str, done: int = 0) -> tqdm:
    """Return a bar of ``total`` things (None: nobody knows), of which some are ``done``."""
    return tqdm(
        total=total,
        initial=done,
        desc=title,
        unit=unit,
        unit_scale=True,
        leave=False,
        disable=None,  # where output is no terminal
        file=sys.stdout,
    )


class TrainingBar:
    """A bar of examples and examples/s with the latest loss.

    Reading a loss from a GPU would make the step wait for it. The bar instead asks for a
    copy each time it is drawn, ten times a second, and shows what has come by the next.
    """

    def __init__(self, total: int, epoch: int, epochs: int, done: int):
        self.bar = bar(total, f"epoch {epoch}/{epochs}", " examples", min(total, done))
        self.latest: Any = None

    def __enter__(self) -> "TrainingBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self, n: int, loss: Any) -> None:
        """Count ``n`` more examples; ``loss`` is theirs, a tensor [] on any device."""
        if not self.bar.update(n):  # not drawn this time
            return
        if self.latest is None:
            pinned = {"device": "cpu", "pin_memory": loss.is_cuda}
            self.latest = loss.new_full((), math.nan, **pinned)
        else:
            self.bar.set_postfix_str(f"loss {self.latest.item():.3f}", refresh=False)
        self.latest.copy_(loss, non_blocking=True)
