"""What a file says of its images, checked: it may be anything that JSON can hold."""

from typing import TypeGuard

# What params.py allows for prepare.picture and prepare.height. Not asked there: on a bare
# machine with a GPU it is not.
PICTURES = ("mnist", "scale")
LONGEST = 65536


def are_classes(found: object) -> TypeGuard[list[str]]:
    """Say whether these are names of classes: printable texts, no two the same."""
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        return False
    return 0 < len(found) == len(set(found)) and all(map(str.isprintable, found))


def is_picture(found: object) -> TypeGuard[str]:
    """Say whether this is a way in which a picture becomes an image."""
    return found in PICTURES


def is_length(found: object) -> TypeGuard[int]:
    """Say whether an image can have so many rows."""
    return type(found) is int and 1 <= found <= LONGEST
