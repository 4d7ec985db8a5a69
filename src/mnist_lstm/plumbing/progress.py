"""Progress bars: what they show, and where. None is drawn where output is no terminal."""

import sys

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
