"""Puts tables into the pages that have a place for them."""

from pathlib import Path

PAGES = [Path(name) for name in ("README.md", "benchmarks/README.md", "benchmarks/LOG.md")]


def update(mark: str, text: str) -> None:
    """Put ``text`` into each page that has a place for it, between ``mark`` and its end."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- {mark.partition(': ')[0]}: end -->"
    for path in PAGES:
        before, found, rest = path.read_text().partition(begin)
        if found:
            _, _, after = rest.partition(end)
            path.write_text(f"{before}{begin}{text}\n{end}{after}")
