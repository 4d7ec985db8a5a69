"""What a file says of its images, checked: it may be anything that JSON can hold."""

import unicodedata
from typing import TypeGuard

# What params.py allows for prepare.picture and prepare.height. Not asked there: on a bare
# machine with a GPU it is not.
PICTURES = ("mnist", "scale")
LONGEST = 65536
# Control characters, halves of pairs (a name that is not UTF-8), ends of lines, and what
# turns the direction of all that follows.
_UNFIT = {
    *("Cc", "Cs", "Zl", "Zp"),
    *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
}


def is_name(text: str) -> bool:
    """Say whether a class may be called so, in a line and in a table.

    Joiners and blanks of all kinds are letters of some scripts, though Python calls them
    not printable.
    """
    return not any(
        {unicodedata.category(c), unicodedata.bidirectional(c)} & _UNFIT for c in text
    )


def are_classes(found: object) -> TypeGuard[list[str]]:
    """Say whether these are names of classes, no two the same."""
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        return False
    return 0 < len(found) == len(set(found)) and all(map(is_name, found))


def is_picture(found: object) -> TypeGuard[str]:
    """Say whether this is a way in which a picture becomes an image."""
    return found in PICTURES


def is_length(found: object) -> TypeGuard[int]:
    """Say whether an image can have so many rows."""
    return type(found) is int and 1 <= found <= LONGEST
