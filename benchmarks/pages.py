"""Puts tables into the pages that have a place for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGES = [Path(name) for name in ("README.md", "benchmarks/README.md", "benchmarks/LOG.md")]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table in Markdown, headed by the keys; a new row changes no other."""
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def update(mark: str, text: str) -> None:
    """Put ``text`` into each page that has a place for it, between ``mark`` and its end."""
    begin, end = f"<!-- {mark} -->\n", f"\n<!-- {mark.partition(': ')[0]}: end -->"
    for path in PAGES:
        before, found, rest = path.read_text().partition(begin)
        if found:
            _, _, after = rest.partition(end)
            path.write_text(before + begin + text + end + after)
